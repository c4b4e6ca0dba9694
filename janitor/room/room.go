// Package room is the waiting room: what is condemned, since when and why, as it is in the mirror.
// It decides nothing.
package room

import (
	"slices"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor/clock"
	"github.com/openbraininstitute/spacktainers/janitor/dag"
	"github.com/openbraininstitute/spacktainers/janitor/listing"
)

// A Room is what is condemned: since which run, why, and in which state its
// objects were. It is a mark in the mirror's own prefix and no more.
type Room struct {
	Head Head
	ETag string // of its object; "" if there is none
	Lost string // why what was in it counts for nothing, for people; "" if it does

	Specs []Entry // by spec
	Lone  LoneEntries
	Tombs []Tomb // by hash
}

// A Head is what a room says of itself.
type Head struct {
	Format     int        `json:"format"`
	Mirror     string     `json:"mirror"`
	Generation uint32     `json:"generation"` // number of the last run
	Runs       []Run      `json:"runs"`       // ascending: those that entries name, and the last ones
	Roots      string     `json:"roots"`      // digest of the roots of the last run
	Taken      [][]string `json:"taken"`      // sets of indexes that specs were taken out of
	Specs      int        `json:"specs"`
	Lone       int        `json:"lone"`
	Tombs      int        `json:"tombs"`
}

// A Run is when a run was, by both clocks.
type Run struct {
	N uint32 `json:"n"`
	clock.Moment
	Back int64 `json:"back,omitempty"` // bytes of what came back because it was written again
}

const roomFormat = 1

// An Entry is a condemned spec or object.
type Entry struct {
	Digest uint64 // of its objects
	Run    uint32 // since when; 0: it is not condemned
	Taken  uint16 // it was taken out of indexes to be deleted: number in Head.Taken + 1
	Why    Reason
	Let    bool // the brake let it through
}

// A Tomb is a spec that was deleted in the last 30 days, or one that is present and whose entry must
// come back into indexes.
type Tomb struct {
	Hash  buildcache.Hash
	Run   uint32
	Taken uint16
}

// TombsFor is how long a spec that was deleted is remembered.
const TombsFor = 30 * 24 * time.Hour

// LoneEntries are those of objects that belong to no spec.
type LoneEntries struct {
	Keys listing.KeyList
	List []Entry
}

// Add appends an entry, whose key is greater than all others.
func (l *LoneEntries) Add(key []byte, e Entry) {
	l.Keys.Add(key)
	l.List = append(l.List, e)
}

// Get returns the entry of an object, or a zero one.
func (l *LoneEntries) Get(key string) Entry {
	if i, ok := l.Keys.Find(key); ok {
		return l.List[i]
	}
	return Entry{}
}

// Spec returns the entry of a spec.
func (r *Room) Spec(at dag.ID) Entry {
	if int(at) < len(r.Specs) {
		return r.Specs[at]
	}
	return Entry{}
}

// Put sets the entry of a spec.
func (r *Room) Put(at dag.ID, e Entry) {
	if n := int(at) + 1 - len(r.Specs); n > 0 {
		r.Specs = append(r.Specs, make([]Entry, n)...)
	}
	r.Specs[at] = e
}

// Leave takes a spec out of the room that was to be deleted. The tomb says from which indexes it was
// taken: it is deleted, or gets its entries back.
func (r *Room) Leave(at dag.ID, hash buildcache.Hash) {
	r.Tombs = append(r.Tombs, Tomb{hash, r.Head.Generation, r.Specs[at].Taken})
	r.Specs[at] = Entry{}
}

// When returns when a run was. One that the room does not know was never.
func (r *Room) When(run uint32) (clock.Moment, bool) {
	i, ok := slices.BinarySearchFunc(r.Head.Runs, run, func(r Run, n uint32) int { return int(r.N) - int(n) })
	if !ok {
		return clock.Moment{}, false
	}
	return r.Head.Runs[i].Moment, true
}

// Steady returns the first of the runs since which neither clock was set, or nothing where one was
// set since the last run. Where the store's time is not known now, that of the last run says it.
func (r *Room) Steady(now clock.Moment) (first Run) {
	first.Moment = now
	if last, ok := r.Last(); ok && now.Store.IsZero() {
		now = last.Moment
	}
	for i := len(r.Head.Runs) - 1; i >= 0 && !now.Jumped(r.Head.Runs[i].Moment); i-- {
		first = r.Head.Runs[i]
	}
	return first
}

// Last returns the last run.
func (r *Room) Last() (Run, bool) {
	if n := len(r.Head.Runs); n > 0 {
		return r.Head.Runs[n-1], true
	}
	return Run{}, false
}

// BackThrice returns how much came back in each of the last three runs at least.
func (r *Room) BackThrice() int64 {
	n := len(r.Head.Runs)
	if n < 3 {
		return 0
	}
	return min(r.Head.Runs[n-1].Back, r.Head.Runs[n-2].Back, r.Head.Runs[n-3].Back)
}

// TakenSet returns the number + 1 of a set of indexes.
func (r *Room) TakenSet(keys []string) uint16 {
	for i, set := range r.Head.Taken {
		if slices.Equal(set, keys) {
			return uint16(i + 1)
		}
	}
	if len(r.Head.Taken) == 1<<16-1 {
		return 0
	}
	r.Head.Taken = append(r.Head.Taken, keys)
	return uint16(len(r.Head.Taken))
}

// TakenFrom returns the indexes of a set.
func (r *Room) TakenFrom(set uint16) []string {
	if set == 0 || int(set) > len(r.Head.Taken) {
		return nil
	}
	return r.Head.Taken[set-1]
}

// Tomb looks a deleted spec up.
func (r *Room) Tomb(h buildcache.Hash) (Tomb, bool) {
	i, ok := slices.BinarySearchFunc(r.Tombs, h, func(t Tomb, h buildcache.Hash) int { return cmpHash(t.Hash, h) })
	if !ok {
		return Tomb{}, false
	}
	return r.Tombs[i], true
}

func cmpHash(a, b buildcache.Hash) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Next begins the room of another run: without entries, with all tombs.
func (r *Room) Next(mirror, roots string, now clock.Moment, back int64) *Room {
	n := &Room{ETag: r.ETag, Head: r.Head}
	n.Head.Format, n.Head.Mirror, n.Head.Roots = roomFormat, mirror, roots
	n.Head.Generation++
	n.Head.Runs = append(slices.Clone(r.Head.Runs), Run{n.Head.Generation, clock.Moment{Ours: now.Ours.UTC().Round(0), Store: now.Store.UTC().Round(0)}, back})
	n.Head.Taken, n.Tombs = slices.Clone(r.Head.Taken), slices.Clone(r.Tombs)
	return n
}

// runsKept is how many runs are remembered beside those that entries name.
const runsKept = 10

// trim forgets runs and sets of indexes that nothing names.
func (r *Room) trim() {
	used := map[uint32]bool{}
	sets := map[uint16]uint16{}
	var taken [][]string
	set := func(old uint16) uint16 {
		if old == 0 || int(old) > len(r.Head.Taken) {
			return 0
		}
		if sets[old] == 0 {
			taken = append(taken, r.Head.Taken[old-1])
			sets[old] = uint16(len(taken))
		}
		return sets[old]
	}
	for _, list := range [][]Entry{r.Specs, r.Lone.List} {
		for i := range list {
			if e := &list[i]; e.Run != 0 {
				used[e.Run] = true
				e.Taken = set(e.Taken)
			}
		}
	}
	for i := range r.Tombs {
		t := &r.Tombs[i]
		used[t.Run] = true
		t.Taken = set(t.Taken)
	}
	r.Head.Taken = taken
	old := len(r.Head.Runs) - runsKept
	var runs []Run
	for i, run := range r.Head.Runs {
		if i >= old || used[run.N] {
			runs = append(runs, run)
		}
	}
	r.Head.Runs = runs
}
