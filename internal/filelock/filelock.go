// Package filelock keeps two processes from doing the same thing at once. It locks files with
// flock, which the kernel gives back however a process ends. File systems without it (some Lustre
// and NFS) have a second file beside the first while the lock is held, and Notice says so.
package filelock

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// ErrHeld means that another process, or another part of this one, has the lock.
var ErrHeld = errors.New("locked by another process")

// ErrNone means that the file system has no locks.
var ErrNone = errors.New("the file system has no locks")

// Notice is told once a folder, in a sentence, that its file system has no locks. It is set before
// any lock is taken, and may be nil.
var Notice func(sentence string)

// A Lock is held until it is closed.
type Lock struct {
	file *os.File
	root *os.Root // nil where the kernel has the lock
	held string
	stop chan struct{}
}

// Try locks the file name in a folder, and makes it if it is not there. It does not wait: the error
// is ErrHeld where another has it. The folder stays open as long as the lock is held.
func Try(root *os.Root, name string) (*Lock, error) {
	file, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	err = File(file)
	if errors.Is(err, ErrNone) {
		notice(root.Name())
		return hold(root, file, name+".held")
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return &Lock{file: file}, nil
}

// Close gives the lock back.
func (l *Lock) Close() error {
	if l.root != nil {
		close(l.stop)
		defer l.root.Remove(l.held)
	}
	return l.file.Close()
}

// A lock file without a life sign of this age was left by a process that was killed.
var (
	lifeSign = 10 * time.Second
	stale    = 2 * time.Minute
)

// hold makes the second file, which must not be there. Its holder writes to it every now and then;
// how old it is is told by the file system's own clock.
func hold(root *os.Root, file *os.File, held string) (*Lock, error) {
	for range 2 {
		f, err := root.OpenFile(held, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if err == nil {
			l := &Lock{file: file, root: root, held: held, stop: make(chan struct{})}
			go l.live(f)
			return l, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			file.Close()
			return nil, err
		}
		if err := removeStale(root, file, held); err != nil {
			file.Close()
			return nil, err
		}
	}
	file.Close()
	return nil, ErrHeld
}

// live shows that the holder lives, until the lock is given back.
func (l *Lock) live(f *os.File) {
	defer f.Close()
	host, _ := os.Hostname()
	sign := fmt.Appendf(nil, "%s %d\n", host, os.Getpid())
	tick := time.NewTicker(lifeSign)
	defer tick.Stop()
	for {
		_, _ = f.WriteAt(sign, 0)
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
	}
}

// removeStale takes away what a killed process has left: under another name first, so that what
// goes is what was looked at, and not what a third process has just made.
func removeStale(root *os.Root, file *os.File, held string) error {
	old, err := root.Stat(held)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := file.WriteAt([]byte{'\n'}, 0); err != nil { // for the file system's time
		return err
	}
	now, err := file.Stat()
	if err != nil {
		return err
	}
	if now.ModTime().Sub(old.ModTime()) < stale {
		return ErrHeld
	}
	aside := held + "." + rand.Text()
	if err := root.Rename(held, aside); err != nil {
		return ErrHeld
	}
	if moved, err := root.Stat(aside); err != nil || !os.SameFile(moved, old) {
		return errors.Join(ErrHeld, root.Rename(aside, held))
	}
	return root.Remove(aside)
}

var (
	mu      sync.Mutex
	noticed = map[string]bool{}
)

func notice(folder string) {
	mu.Lock()
	defer mu.Unlock()
	if path, err := filepath.Abs(folder); err == nil {
		folder = path
	}
	if Notice != nil && !noticed[folder] {
		noticed[folder] = true
		Notice(fmt.Sprintf("the file system of %s has no locks (flock): a file beside what is written to keeps others out", folder))
	}
}
