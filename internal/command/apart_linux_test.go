package command

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A terminal's Ctrl-C goes to all processes of a group. One that is apart is in none of ours, and
// has no terminal to ask on.
func TestAProgramApartIsInASessionOfItsOwn(t *testing.T) {
	ours, err := readProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for isApart, same := range map[bool]bool{true: false, false: true} {
		c := sh("cat /proc/self/stat; echo; exec 2>&-; cat </dev/tty && echo terminal")
		c.Apart = isApart
		stat, _ := Output(t.Context(), Exec(nil), c)
		fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
		if got := fields[3] == strconv.Itoa(ours.session); got != same {
			t.Errorf("apart %v: in session %s, and we are in %d", isApart, fields[3], ours.session)
		}
	}
}

// What it has started in the background ends with it when it is interrupted, and else stays.
func TestWhatAProgramApartHasStartedEndsWithIt(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _ = read.Read(make([]byte, 1)) // it says that both are at work
		cancel()
	}()
	c := sh(`setsid sleep 1000 & echo $! >"$0"; echo; exec 1>&-; trap '' INT; sleep 1000`)
	c.Args, c.Apart, c.Stdout = append(c.Args, pidFile), true, write
	if err := Exec(nil)(ctx, c); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	write.Close()
	text, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	for deadline := time.Now().Add(10 * time.Second); isAlive(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatalf("process %d is left", pid)
		}
	}
}

func isAlive(pid int) bool {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err == nil && !strings.Contains(string(text), ") Z ") && !strings.Contains(string(text), ") X ")
}

// What starts containers tidies up after a step that fails, and not when it is interrupted. So its
// step ends first.
func TestAStepInAnotherRootEndsFirst(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("another root takes root")
	}
	ctx, cancel := context.WithCancel(t.Context())
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	go func() {
		_, _ = read.Read(make([]byte, 1))
		cancel()
	}()
	said := filepath.Join(t.TempDir(), "said")
	// The step is in another root, which holds all that this one does: mounted on itself.
	c := sh(`trap 'echo interrupted >>"$0"' INT
unshare --mount sh -c 'mount --rbind /usr /mnt && exec chroot /mnt /bin/sh -c "PATH=/bin; echo; sleep 1000"' || true
echo tidied up >>"$0"`)
	c.Args, c.Apart, c.Stdout = append(c.Args, said), true, write
	err = Exec(nil)(ctx, c)
	write.Close()
	text, _ := os.ReadFile(said)
	if !errors.Is(err, context.Canceled) || string(text) != "tidied up\n" {
		t.Errorf("got %v, said %q", err, text)
	}
}
