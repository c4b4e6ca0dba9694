package ui

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal opens a pseudo-terminal and returns the user's end. What is written
// there, seen is told of.
func terminal(t *testing.T) (end *os.File, seen func() string) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Skip("no pseudo-terminal: ", err)
	}
	t.Cleanup(func() { _ = ours.Close() })
	var number int
	conn, err := ours.SyscallConn()
	if err == nil {
		_ = conn.Control(func(fd uintptr) {
			if number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN); err == nil {
				err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0)
			}
		})
	}
	if err == nil {
		end, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Skip("no pseudo-terminal: ", err)
	}
	t.Cleanup(func() { _ = end.Close() })
	return end, func() string {
		_ = ours.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		var all []byte
		text := make([]byte, 4096)
		for { // until the deadline: what is written in two goes is read in two
			n, err := ours.Read(text)
			if all = append(all, text[:n]...); err != nil {
				return string(all)
			}
		}
	}
}

func TestEachStreamIsColouredByItself(t *testing.T) {
	t.Setenv("TERM", "xterm-256color")
	t.Setenv("CI", "") // else the libraries below take no terminal for one
	end, seen := terminal(t)
	var file bytes.Buffer
	u := New(&file, end, "", Style{})
	u.Log.Warn("look")
	if err := u.Table([]string{"name"}, nil); err != nil {
		t.Fatal(err)
	}
	if got := seen(); !strings.Contains(got, escape) {
		t.Errorf("the log on a terminal has no colour: %q", got)
	}
	if strings.Contains(file.String(), escape) {
		t.Errorf("the table in a file has colour: %q", file.String())
	}

	u = New(end, &file, "", Style{})
	if err := u.Table([]string{"name"}, nil); err != nil {
		t.Fatal(err)
	}
	if got := seen(); !strings.Contains(got, escape) {
		t.Errorf("the table on a terminal has no colour: %q", got)
	}
}

func TestATerminalHasNoColoursWhereNoneAreWanted(t *testing.T) {
	t.Setenv("TERM", "xterm-256color")
	t.Setenv("CI", "") // else the libraries below take no terminal for one
	end, seen := terminal(t)
	for _, u := range []*UI{New(end, end, "", Style{NoColor: true}), New(end, end, GitHub, Style{})} {
		u.Log.Warn("look")
		if err := u.Table([]string{"name"}, nil); err != nil {
			t.Fatal(err)
		}
		if got := seen(); got != "WARN look\r\nNAME\r\n" {
			t.Errorf("got %q", got)
		}
	}
}
