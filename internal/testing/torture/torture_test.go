package torture

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/testing/size"
)

// One history again, with all that happens in it: go test ./internal/testing/torture -run Histories
// -seed 17 -histories 1
var (
	firstSeed = flag.Uint64("seed", 0, "seed of the first history")
	count     = flag.Int("histories", 0, "number of histories; 0 is that of the size of this run")
	sceneFile = flag.String("scene", "", "file with a scene to run instead, as a failure prints it")
	program   = flag.String("program", "", "the program for real histories, as mage -compile makes it; it is built if not given")
	stop      = flag.Bool("stop", false, "stop at the first failure")
	shrinks   = flag.Int("shrinks", 2, "how many failures are shrunk")
)

// TestHistories has random histories happen to the janitor.
func TestHistories(t *testing.T) {
	if *sceneFile != "" {
		runScene(t, *sceneFile)
		return
	}
	n := *count
	if n == 0 {
		n = size.Pick(200, 1000, 20000)
		if size.Race {
			n = 60 // the suite runs all of them without the race detector as well
		}
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // little lives long here
	begun := time.Now()
	var all tally
	t.Run("all", func(t *testing.T) {
		workers := runtime.GOMAXPROCS(0)
		for worker := range workers {
			t.Run(fmt.Sprint(worker), func(t *testing.T) {
				t.Parallel()
				for i := worker; i < n && !(*stop && all.failed()); i += workers {
					h := Draw(*firstSeed + uint64(i))
					log := io.Writer(nil)
					if n == 1 {
						log = os.Stderr
					}
					if out := h.Run(t, product{}, log); all.add(h.Seed, out) {
						reportBroken(t, h, out.Broken)
					}
				}
			})
		}
	})
	t.Logf("%d histories from seed %d in %v: %v", n, *firstSeed, time.Since(begun).Round(time.Second), &all)
	if all.deleted < 2*n && n > 100 && !*stop {
		t.Errorf("only %d specs were deleted: the histories are too tame to say anything", all.deleted)
	}
}

// reportBroken prints the history as short as it gets.
func reportBroken(t *testing.T, h History, broken []Broken) {
	t.Errorf("seed %d: %d promises broken, first %s at %s: %s", h.Seed, len(broken), broken[0].Promise, broken[0].At, broken[0].What)
	shrinking.Lock()
	defer shrinking.Unlock()
	if *shrinks--; *shrinks < 0 {
		return
	}
	// Requests that run beside each other, in an order that the janitor leaves to chance, make few
	// histories differ from run to run: a second and a third one count as well.
	small := Shrink(h, broken[0].Promise, func(h History) (broken []Broken) {
		for try := 0; try < 3 && len(broken) == 0; try++ {
			broken = h.Run(t, product{}, nil).Broken
		}
		return broken
	})
	var log strings.Builder
	small.Run(t, product{}, &log)
	lines := strings.Split(log.String(), "\n")
	if at := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "BROKEN  "+broken[0].Promise) }); at > 60 {
		lines = lines[at-60 : at+1]
	}
	t.Errorf("scene of seed %d, to be run with -scene FILE:\n%v\n%s", h.Seed, small, strings.Join(lines, "\n"))
}

var shrinking sync.Mutex

// runScene runs one scene with all that happens in it.
func runScene(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var h History
	if err := json.Unmarshal(text, &h); err != nil {
		t.Fatal(err)
	}
	for _, b := range h.Run(t, product{}, os.Stderr).Broken {
		t.Error(b)
	}
}

// A tally adds up what many histories have shown.
type tally struct {
	mu            sync.Mutex
	runs, deleted int
	seeds         map[string][]uint64 // by the promise that was broken first
	windows       map[string][]time.Duration
}

func (a *tally) add(seed uint64, out Outcome) (broken bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.seeds == nil {
		a.seeds, a.windows = map[string][]uint64{}, map[string][]time.Duration{}
	}
	a.runs += out.Runs
	a.deleted += out.Deleted
	for name, all := range out.Windows {
		a.windows[name] = append(a.windows[name], all...)
	}
	if len(out.Broken) > 0 {
		a.seeds[out.Broken[0].Promise] = append(a.seeds[out.Broken[0].Promise], seed)
	}
	return len(out.Broken) > 0
}

func (a *tally) failed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.seeds) > btoi(a.seeds["panic"] != nil)
}

func (a *tally) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d runs of the janitor, %d specs deleted", a.runs, a.deleted)
	for promise, seeds := range a.seeds {
		slices.Sort(seeds)
		fmt.Fprintf(&b, "\n  broken: %s in %d histories: %d", promise, len(seeds), seeds[:min(len(seeds), 12)])
	}
	for name, all := range a.windows {
		fmt.Fprintf(&b, "\n  not promised: %s %d times, at most %v", name, len(all), slices.Max(all).Round(time.Second))
	}
	return b.String()
}
