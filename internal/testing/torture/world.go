package torture

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A Setting is what stays the same during a history.
type Setting struct {
	Shape      uint64        // seed of the graph
	Specs      int           // besides those that all need
	Layouts    []int         // 2, 3, or both
	Signed     bool          `json:",omitempty"`
	Repos      int           // repositories that share the mirror
	Views      int           `json:",omitempty"` // indexes besides the main one
	Page       int           // objects on a page of a listing
	Batch      int           // keys in a batch delete
	Conditions string        `json:",omitempty"` // "" they hold, "ignored" or "refused"
	Skew       time.Duration `json:",omitempty"` // of the store's clock against the truth
	JumpAt     time.Duration `json:",omitempty"` // when the store's clock jumps
	Jump       time.Duration `json:",omitempty"`
	Clock      time.Duration `json:",omitempty"` // how far the clocks of every second repository's machine are off, always
	OffAt      time.Duration `json:",omitempty"` // from when on the first one's is off besides
	OffFor     time.Duration `json:",omitempty"`
	Off        time.Duration `json:",omitempty"`
	Rules      `json:",omitzero"`
}

// Rules are those of a policy, the same for all repositories.
type Rules struct {
	MaxAge    time.Duration `json:",omitempty"` // what is younger stays
	KeepLast  int           `json:",omitempty"` // so many versions of a package
	Used      time.Duration `json:",omitempty"` // what was fetched less long ago stays
	DropBuild bool          `json:",omitempty"` // what is needed to build only does not stay for that
	NoRoots   bool          `json:",omitempty"` // there are no lockfiles: it goes by age
	Brake     float64       `json:",omitempty"` // no larger part may be condemned; 0 is all
}

const (
	grace = 48 * time.Hour
	wait  = 6 * day
)

// A World is a history that runs: the bucket, who uses it, and the oracle that watches.
type World struct {
	Setting
	Graph *Graph
	Log   io.Writer // what happens, line by line; or nil

	mu      sync.Mutex
	bucket  *Bucket
	start   time.Time
	oracle  oracle
	unknown map[string]bool      // hashes beside which there is something that nobody understands
	unnamed bool                 // something that nobody understands may name blobs
	fetched map[string]time.Time // when a spec was last fetched
	moves   int                  // how often the bucket was moved, as it was, to another address
}

func newWorld(s Setting, g *Graph, log io.Writer) *World {
	w := &World{Setting: s, Graph: g, Log: log, bucket: newBucket(), start: time.Now(), unknown: map[string]bool{}, fetched: map[string]time.Time{}}
	w.oracle = newOracle(w)
	return w
}

// storeTime is what the store says that the time is.
func (w *World) storeTime() time.Time {
	now := time.Now()
	if w.Jump != 0 && now.Sub(w.start) >= w.JumpAt {
		now = now.Add(w.Jump)
	}
	return now.Add(w.Skew)
}

// clockOf says how far the clock of a repository's machine is off.
func (w *World) clockOf(repo int) func() time.Duration {
	return func() (off time.Duration) {
		if repo%2 == 1 {
			off = w.Clock
		}
		if since := time.Since(w.start) - w.OffAt; repo == 0 && since >= 0 && since < w.OffFor {
			off += w.Off
		}
		return off
	}
}

// address is the mirror's.
func (w *World) address() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return fmt.Sprintf("s3://torture/%d", w.moves)
}

// move gives the bucket another address: its copy has all that there was, times as well.
func (w *World) move(a *Actor) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.moves++
	w.note(a, fmt.Sprint("to ", w.moves))
}

// newActor starts a program. It ends with the context that is returned.
func (w *World) newActor(ctx context.Context, name string, seed uint64, f Faults) (*Actor, context.Context) {
	ctx, kill := context.WithCancelCause(ctx)
	return &Actor{Name: name, Seed: seed, Faults: f, w: w, mirror: w.address(), kill: kill, counts: map[string]int{}, refused: map[string]bool{}}, ctx
}

func (w *World) holds(key string, c buildcache.Condition) bool {
	o := w.bucket.objects[key]
	switch {
	case w.Conditions == "ignored":
		return true
	case c.IfNoneMatch:
		return o == nil
	case c.IfMatch != "":
		return o != nil && o.etag == c.IfMatch
	}
	return true
}

func (w *World) put(a *Actor, key string, o *object) {
	o.written, o.mod, o.by = time.Now(), w.storeTime().Truncate(time.Second), a
	o.etag = etag(o.body)
	w.note(a, "put", key)
	w.oracle.beforePut(a, key, o)
	w.bucket.put(key, o)
	w.oracle.afterPut(a, key, o)
}

func (w *World) remove(a *Actor, key string) {
	o := w.bucket.objects[key]
	if o == nil {
		return
	}
	w.note(a, "delete", key)
	w.oracle.beforeRemove(a, key, o)
	w.bucket.remove(key, time.Now())
	w.oracle.afterRemove(a, key)
}

// note logs what happens.
func (w *World) note(a *Actor, words ...string) {
	if w.Log != nil {
		fmt.Fprintf(w.Log, "%s  %-12s %s\n", w.clock(), a.Name, strings.Join(words, " "))
	}
}

// log is note for those who do not hold the lock.
func (w *World) log(a *Actor, words ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note(a, words...)
}

// clock is the time since the start, in days, hours, minutes and seconds.
func (w *World) clock() string {
	d := time.Since(w.start)
	return fmt.Sprintf("%3dd %s", d/day, time.Time{}.Add(d%day).Format("15:04:05"))
}
