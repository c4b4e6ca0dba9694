package gateway

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openbraininstitute/spacktainers/internal/command"
)

// Isolate makes a network namespace for builds on this machine, which takes root. It lasts for as
// long as we do.
func (g *Gateway) Isolate() (*Namespace, error) {
	n := &Namespace{}
	var inner, out net.Listener
	err := onOwnThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("%w: a network namespace takes root: %w", ErrNotIsolated, err)
		}
		if err := loopbackUp(); err != nil {
			return fmt.Errorf("%w: loopback of the network namespace: %w", ErrNotIsolated, err)
		}
		if n.fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			return fmt.Errorf("%w: %w", ErrNotIsolated, err)
		}
		if inner, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return err
		}
		out, err = net.Listen("tcp", "127.0.0.1:0")
		return err
	})
	if err != nil {
		return nil, err
	}
	n.addr, n.proxy = inner.Addr().String(), out.Addr().String()
	g.serve(inner) // a socket stays in the namespace that it was made in, whichever process serves it
	server := &http.Server{Handler: newProxy(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(out) }()
	g.server.RegisterOnShutdown(func() { server.Close() })
	return n, nil
}

// onOwnThread runs a function on a thread of the system that ends with it, whatever namespaces it
// is in by then.
func onOwnThread(do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlock: no other goroutine gets this thread
		done <- do()
	}()
	return <-done
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}

// runner starts commands from a thread that has entered the namespace: a process is in that of the
// thread it came from.
func (n *Namespace) runner(run command.Runner) command.Runner {
	return func(ctx context.Context, c command.Cmd) error {
		return onOwnThread(func() error {
			if err := unix.Setns(n.fd, unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("%w: enter the network namespace: %w", ErrNotIsolated, err)
			}
			c.Env = append(c.Env, n.Env()...)
			return run(ctx, c)
		})
	}
}
