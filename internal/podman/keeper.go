package podman

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// A Keeper keeps the credentials of builds in memory and hands them to the steps that may have them.
//
// Podman copies what is mounted as a secret into its storage, on a disk, and leaves the copy there when it is killed or
// interrupted. So the secret that it gets is a pass: a word for the keeper, good for a single step of a single build, and
// good for nothing once that build is over or we are gone. Whoever finds a pass finds no credentials.
//
// A step holds its connection to the keeper for as long as it works, and ends when that breaks: an interrupted podman
// leaves its steps at work, with all that they know.
type Keeper struct {
	listener net.Listener

	mu       sync.Mutex
	deposits map[string]*deposit // by pass
}

// A deposit is what the step of one build gets.
type deposit struct {
	credentials map[string][]byte // by name
	taken       bool
	over        chan struct{}
}

// passFile is the name of the secret that podman shows to a step: where the keeper is, and the pass.
const passFile = "keeper"

// greetTime is how long a caller may take to say its pass.
const greetTime = 10 * time.Second

// NewKeeper starts a keeper on loopback, for as long as this process lives or until it is closed.
func NewKeeper() (*Keeper, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	k := &Keeper{listener: listener, deposits: map[string]*deposit{}}
	go k.serve()
	return k, nil
}

// Addr is where steps on this machine find the keeper.
func (k *Keeper) Addr() string { return k.listener.Addr().String() }

// Close ends the keeper. Steps that have credentials end, too.
func (k *Keeper) Close() {
	k.listener.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
	for pass := range k.deposits {
		k.drop(pass)
	}
}

func (k *Keeper) serve() {
	for {
		c, err := k.listener.Accept()
		if err != nil {
			return // closed
		}
		go k.attend(c)
	}
}

// attend answers a caller that says a pass, and holds the connection for as long as the build takes. Any other caller
// learns nothing.
func (k *Keeper) attend(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(greetTime)) // a connection that takes no deadline fails at the next line
	line, err := bufio.NewReader(io.LimitReader(c, 256)).ReadString('\n')
	if err != nil {
		return
	}
	credentials, over := k.take(strings.TrimSpace(line))
	if over == nil {
		return
	}
	if err := json.NewEncoder(c).Encode(credentials); err != nil {
		return
	}
	<-over
}

// take returns what was left for a pass: once. A second caller with the same pass has read it where it should not.
func (k *Keeper) take(pass string) (map[string][]byte, <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.deposits[pass]
	if d == nil || d.taken {
		return nil, nil
	}
	d.taken = true
	return d.credentials, d.over
}

// drop ends a deposit, and with it the step that has taken it. The caller holds the lock.
func (k *Keeper) drop(pass string) {
	if d := k.deposits[pass]; d != nil {
		close(d.over)
		delete(k.deposits, pass)
	}
}

// leave takes credentials for the step of a build, and returns the pass for them and a function that ends the deposit.
func (k *Keeper) leave(credentials map[string][]byte) (pass string, withdraw func()) {
	pass = rand.Text()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.deposits[pass] = &deposit{credentials: credentials, over: make(chan struct{})}
	return pass, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.drop(pass)
	}
}

// tidyTime is how long podman may tidy up after its step has ended. Mage gives us five seconds for everything.
const tidyTime = 2 * time.Second

// with leaves credentials for a build, hands podman's argument for the pass to do, and takes them back. Addr is where the
// build's steps find us. When ctx ends, the step ends first, and do has a while to end by itself before its own context
// does: a podman whose step fails tidies up, an interrupted one does not.
func (k *Keeper) with(ctx context.Context, addr string, credentials map[string][]byte, do func(ctx context.Context, args []string) error) error {
	pass, withdraw := k.leave(credentials)
	defer withdraw()
	dir, err := os.MkdirTemp("", "spacktainers-pass-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, passFile)
	if err := os.WriteFile(file, []byte(addr+" "+pass+"\n"), 0o600); err != nil {
		return err
	}
	doing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		withdraw()
		time.AfterFunc(tidyTime, cancel)
	})()
	if err := do(doing, []string{"--secret=id=" + passFile + ",src=" + file}); err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	return nil
}
