//go:build unix

package filelock

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// systems runs a test where there are locks, and with each answer of file systems without them.
func systems(t *testing.T, test func(t *testing.T, root *os.Root)) {
	kinds := map[string]error{"flock": nil, "ENOSYS": syscall.ENOSYS, "ENOLCK": syscall.ENOLCK, "EOPNOTSUPP": syscall.EOPNOTSUPP}
	for name, answer := range kinds {
		t.Run(name, func(t *testing.T) {
			if answer != nil {
				flock = func(int, int) error { return answer }
				t.Cleanup(func() { flock = syscall.Flock })
			}
			root, err := os.OpenRoot(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { root.Close() })
			test(t, root)
		})
	}
}

func TestOneHasTheLock(t *testing.T) {
	systems(t, func(t *testing.T, root *os.Root) {
		for range 3 {
			one, err := Try(root, "lock")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Try(root, "lock"); !errors.Is(err, ErrHeld) {
				t.Errorf("a second one: %v", err)
			}
			other, err := Try(root, "other")
			if err != nil {
				t.Errorf("another lock: %v", err)
			}
			if err := errors.Join(one.Close(), other.Close()); err != nil {
				t.Error(err)
			}
		}
	})
}

// Many want it at once; each adds to a counter that only the lock protects.
func TestManyTakeTurns(t *testing.T) {
	systems(t, func(t *testing.T, root *os.Root) {
		var inside atomic.Int32
		total := 0
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for done := 0; done < 20; {
					l, err := Try(root, "lock")
					if errors.Is(err, ErrHeld) {
						time.Sleep(time.Millisecond)
						continue
					}
					if err != nil {
						t.Error(err)
						return
					}
					if inside.Add(1) != 1 {
						t.Error("two have it")
					}
					total++
					inside.Add(-1)
					l.Close()
					done++
				}
			})
		}
		all.Wait()
		if total != 80 {
			t.Errorf("%d turns", total)
		}
	})
}

// What a killed process leaves goes after a while; what a living one holds does not.
func TestALeftLockFileGoes(t *testing.T) {
	flock = func(int, int) error { return syscall.ENOSYS }
	t.Cleanup(func() { flock = syscall.Flock })
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := root.WriteFile("lock.held", []byte("elsewhere 1\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Try(root, "lock"); !errors.Is(err, ErrHeld) {
		t.Errorf("a young one is taken away: %v", err)
	}
	past := time.Now().Add(-2 * stale)
	if err := root.Chtimes("lock.held", past, past); err != nil {
		t.Fatal(err)
	}
	l, err := Try(root, "lock")
	if err != nil {
		t.Fatalf("an old one keeps everybody out: %v", err)
	}
	defer l.Close()
	if _, err := Try(root, "lock"); !errors.Is(err, ErrHeld) {
		t.Errorf("the new one is not held: %v", err)
	}
}

func TestNoLocksAreSaidOnce(t *testing.T) {
	var said []string
	Notice = func(sentence string) { said = append(said, sentence) }
	t.Cleanup(func() { Notice = nil })
	systems(t, func(t *testing.T, root *os.Root) {
		said = nil
		for range 3 {
			l, err := Try(root, "lock")
			if err != nil {
				t.Fatal(err)
			}
			l.Close()
		}
		kernel := t.Name() == "TestNoLocksAreSaidOnce/flock"
		if want := map[bool]int{true: 0, false: 1}[kernel]; len(said) != want {
			t.Errorf("said %q", said)
		}
	})
}
