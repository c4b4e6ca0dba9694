package podman

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/command"
)

// The hosts that are this machine. Every other one is ssh://user@host[:port].
const (
	Local   = "local"   // for its own architecture
	Emulate = "emulate" // for another one, by qemu
)

// hostWord is a host or user that neither ssh nor a command of its configuration takes for anything
// else.
var hostWord = regexp.MustCompile(`^[A-Za-z0-9_:][A-Za-z0-9_.:%+-]*$`)

// CheckHost refuses what can be no host.
func CheckHost(host string) error {
	if host == Local || host == Emulate {
		return nil
	}
	u, err := url.Parse(host)
	if err == nil && u.User != nil {
		if _, has := u.User.Password(); has {
			return fmt.Errorf("host ssh://%s names a password: leave that to ssh's own keys and agent", u.Host)
		}
	}
	if err != nil || u.Scheme != "ssh" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || !hostWord.MatchString(u.Hostname()) ||
		u.User != nil && !hostWord.MatchString(u.User.Username()) {
		return fmt.Errorf("host %q is none of %s, %s, ssh://user@host:port", host[strings.LastIndex(host, "@")+1:], Local, Emulate)
	}
	return nil
}

// serviceTime is how long podman's service on another host waits for us between two requests before
// it ends by itself.
const serviceTime = 30 * time.Minute

// connectTime is how long a host may take to answer.
const connectTime = 45 * time.Second

// serviceScript runs podman's service until it reads a line, which is when we are done, or until
// its standard input ends, which is when we are gone, however we went: then its build, whose step
// ends with us, has a moment to tidy up.
const serviceScript = `umask 077; exec 3<&0; (read -r _ <&3 || sleep 3; kill $$) >/dev/null 2>&1 & exec podman system service --time=%d unix://%s 3<&-`

// tunnelCmd starts podman's service on the host, forwards its socket to one of ours and a port
// there to our gateway, in one connection. It is the OpenSSH client with all that its user has
// configured, but it asks nothing and takes no unknown host's word.
func tunnelCmd(host, local, remote, gateway string) (command.Cmd, error) {
	u, err := url.Parse(host)
	if err != nil {
		return command.Cmd{}, err
	}
	args := []string{
		"ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ExitOnForwardFailure=yes",
		"-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=30", "-o", "ControlPath=none",
		"-o", "LogLevel=INFO", // it says which port the host has chosen
		"-L", local + ":" + remote, "-R", "127.0.0.1:0:" + gateway,
	}
	if u.Port() != "" {
		args = append(args, "-p", u.Port())
	}
	if u.User != nil {
		args = append(args, "-l", u.User.Username())
	}
	service := fmt.Sprintf(serviceScript, int(serviceTime.Seconds()), remote)
	return command.Cmd{Args: append(args, "--", u.Hostname(), "exec sh -c '"+service+"'"), Apart: true}, nil
}

// A Tunnel is podman on another host.
type Tunnel struct {
	Podman
	cancel context.CancelFunc
	input  *os.File // of the service, which ends with it
	ended  chan error
	dir    string
}

// Dial opens a tunnel to a host.
func Dial(ctx context.Context, p Podman, host string) (*Tunnel, error) {
	t, err := dial(ctx, p, host)
	if err != nil && ctx.Err() == nil {
		return nil, &HostError{Host: host, Err: explainSSH(err)}
	}
	return t, err
}

func dial(ctx context.Context, p Podman, host string) (*Tunnel, error) {
	if err := CheckHost(host); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "spacktainers-ssh-*") // short: the path of a socket has 108 bytes at most
	if err != nil {
		return nil, err
	}
	local := filepath.Join(dir, "podman.sock")
	cmd, err := tunnelCmd(host, local, "/tmp/spacktainers-"+strings.ToLower(rand.Text())+".sock", p.Gateway)
	if err != nil {
		return nil, err
	}
	port := &allocated{}
	cmd.Stderr, cmd.Clean = port, true
	stdin, input, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdin = stdin
	background, cancel := context.WithCancel(context.WithoutCancel(ctx)) // it outlives a build that is cancelled
	t := &Tunnel{Podman: p, cancel: cancel, input: input, ended: make(chan error, 1), dir: dir}
	t.URL, t.Chroot, t.Home, t.Namespace, t.Builds = "unix://"+local, false, &p, nil, ""
	go func() {
		err := p.Run(background, cmd)
		stdin.Close()
		t.ended <- err
	}()
	if err := t.wait(ctx, local, port); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// An allocated listens to ssh for the port of the host that leads back to us.
type allocated struct {
	mu   sync.Mutex
	said []byte
}

var allocatedPort = regexp.MustCompile(`Allocated port (\d+) for remote forward`)

func (a *allocated) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.said) < 1<<16 { // it comes first, and hosts may be talkative
		a.said = append(a.said, p...)
	}
	return len(p), nil
}

// addr is where processes on the host find us; empty where ssh has not said.
func (a *allocated) addr() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	found := allocatedPort.FindSubmatch(a.said)
	if found == nil {
		return ""
	}
	return "127.0.0.1:" + string(found[1])
}

// wait returns when podman answers and the way back is known, when ssh gives up, or when it took
// too long.
func (t *Tunnel) wait(ctx context.Context, socket string, port *allocated) error {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	last := errors.New("podman does not answer")
	for {
		select {
		case err := <-t.ended:
			t.ended <- err
			if err == nil {
				err = errors.New("podman's service ended")
			}
			return err
		case <-ctx.Done():
			return errors.Join(last, ctx.Err())
		case <-tick.C:
		}
		if _, err := os.Stat(socket); err != nil {
			continue
		}
		if last = t.ping(ctx); last != nil {
			continue
		}
		if t.Gateway = port.addr(); t.Gateway != "" {
			return nil
		}
		last = errors.New("ssh does not say which port of the host leads back to us")
	}
}

// closeTime is how long the service on the host may take to end.
const closeTime = 1500 * time.Millisecond

// Close ends podman's service on the host, and the connection.
func (t *Tunnel) Close() {
	_, _ = t.input.WriteString("done\n") // where ssh has ended, it need not be told
	t.input.Close()
	select {
	case <-t.ended:
	case <-time.After(closeTime):
		t.cancel()
		<-t.ended
	}
	t.cancel()
	os.RemoveAll(t.dir)
}

// explainSSH says what to do about what ssh says.
func explainSSH(err error) error {
	text := err.Error()
	var failed *command.Error
	if errors.As(err, &failed) && failed.Tail != "" {
		lines := strings.Split(strings.TrimSpace(failed.Tail), "\n")
		err = errors.New(strings.TrimSpace(lines[len(lines)-1])) // the command line is long, and no help
	}
	for _, known := range []struct{ says, means string }{
		{"Host key verification failed", "its key is not known, or not the one in known_hosts: connect once by hand, and compare the key"},
		{"Permission denied", "it takes none of your keys: look at ssh-add -l, and at authorized_keys on the host"},
		{"Connection refused", "no server listens there"},
		{"Could not resolve hostname", "there is no host of that name"},
		{"remote port forwarding failed", "it forwards no ports, by which packages travel: look at AllowTcpForwarding in its sshd_config"},
		{"remote forward failure", "it forwards no ports, by which packages travel: look at AllowTcpForwarding in its sshd_config"},
		{"open failed", "it forwards no sockets, or podman's service does not start: look at AllowStreamLocalForwarding in its sshd_config"},
		{"podman: command not found", "it has no podman"},
		{"podman: not found", "it has no podman"},
	} {
		if strings.Contains(text, known.says) {
			return fmt.Errorf("%s: %w", known.means, err)
		}
	}
	return err
}
