package janitor

import (
	"slices"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A room is what is condemned: since which run, why, and in which state its
// objects were. It is a mark in the mirror's own prefix and no more.
type room struct {
	head roomHead
	etag string // of its object; "" if there is none
	lost string // why what was in it counts for nothing, for people; "" if it does

	specs []entry // by spec
	lone  loneEntries
	tombs []tomb // by hash
}

// A roomHead is what a room says of itself.
type roomHead struct {
	Format     int        `json:"format"`
	Mirror     string     `json:"mirror"`
	Generation uint32     `json:"generation"` // number of the last run
	Runs       []roomRun  `json:"runs"`       // ascending: those that entries name, and the last ones
	Roots      string     `json:"roots"`      // digest of the roots of the last run
	Taken      [][]string `json:"taken"`      // sets of indexes that specs were taken out of
	Specs      int        `json:"specs"`
	Lone       int        `json:"lone"`
	Tombs      int        `json:"tombs"`
}

// A roomRun is when a run was, by both clocks.
type roomRun struct {
	N uint32 `json:"n"`
	moment
	Back int64 `json:"back,omitempty"` // bytes of what came back because it was written again
}

const roomFormat = 1

// An entry is a condemned spec or object.
type entry struct {
	digest uint64 // of its objects
	run    uint32 // since when; 0: it is not condemned
	taken  uint16 // it was taken out of indexes to be deleted: number in roomHead.Taken + 1
	why    reason
	let    bool // the brake let it through
}

// A tomb is a spec that was deleted in the last 30 days.
type tomb struct {
	hash  buildcache.Hash
	run   uint32
	taken uint16
}

const tombsFor = 30 * 24 * time.Hour

// loneEntries are those of objects that belong to no spec.
type loneEntries struct {
	keys keyList
	list []entry
}

func (l *loneEntries) add(key []byte, e entry) {
	l.keys.add(key)
	l.list = append(l.list, e)
}

func (l *loneEntries) get(key string) entry {
	if i, ok := l.keys.find(key); ok {
		return l.list[i]
	}
	return entry{}
}

// spec returns the entry of a spec.
func (r *room) spec(at id) entry {
	if int(at) < len(r.specs) {
		return r.specs[at]
	}
	return entry{}
}

func (r *room) put(at id, e entry) {
	if n := int(at) + 1 - len(r.specs); n > 0 {
		r.specs = append(r.specs, make([]entry, n)...)
	}
	r.specs[at] = e
}

// when returns when a run was. One that the room does not know was never.
func (r *room) when(run uint32) (moment, bool) {
	i, ok := slices.BinarySearchFunc(r.head.Runs, run, func(r roomRun, n uint32) int { return int(r.N) - int(n) })
	if !ok {
		return moment{}, false
	}
	return r.head.Runs[i].moment, true
}

// steady returns the first of the runs since which neither clock was set, or nothing where one was
// set since the last run.
func (r *room) steady(now moment) (first roomRun) {
	first.moment = now
	for i := len(r.head.Runs) - 1; i >= 0 && !now.jumped(r.head.Runs[i].moment); i-- {
		first = r.head.Runs[i]
	}
	return first
}

// last returns the last run.
func (r *room) last() (roomRun, bool) {
	if n := len(r.head.Runs); n > 0 {
		return r.head.Runs[n-1], true
	}
	return roomRun{}, false
}

// backThrice returns how much came back in each of the last three runs at least.
func (r *room) backThrice() int64 {
	n := len(r.head.Runs)
	if n < 3 {
		return 0
	}
	return min(r.head.Runs[n-1].Back, r.head.Runs[n-2].Back, r.head.Runs[n-3].Back)
}

// takenSet returns the number + 1 of a set of indexes.
func (r *room) takenSet(keys []string) uint16 {
	for i, set := range r.head.Taken {
		if slices.Equal(set, keys) {
			return uint16(i + 1)
		}
	}
	if len(r.head.Taken) == 1<<16-1 {
		return 0
	}
	r.head.Taken = append(r.head.Taken, keys)
	return uint16(len(r.head.Taken))
}

// takenFrom returns the indexes of a set.
func (r *room) takenFrom(set uint16) []string {
	if set == 0 || int(set) > len(r.head.Taken) {
		return nil
	}
	return r.head.Taken[set-1]
}

// tomb looks a deleted spec up.
func (r *room) tomb(h buildcache.Hash) (tomb, bool) {
	i, ok := slices.BinarySearchFunc(r.tombs, h, func(t tomb, h buildcache.Hash) int { return cmpHash(t.hash, h) })
	if !ok {
		return tomb{}, false
	}
	return r.tombs[i], true
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

// next begins the room of another run: without entries, with the tombs that
// are not too old.
func (r *room) next(mirror, roots string, now moment, back int64) *room {
	n := &room{etag: r.etag, head: r.head}
	n.head.Format, n.head.Mirror, n.head.Roots = roomFormat, mirror, roots
	n.head.Generation++
	n.head.Runs = append(slices.Clone(r.head.Runs), roomRun{n.head.Generation, moment{now.Ours.UTC().Round(0), now.Store.UTC().Round(0)}, back})
	n.head.Taken = slices.Clone(r.head.Taken)
	for _, t := range r.tombs {
		if at, ok := r.when(t.run); ok && now.since(at) < tombsFor {
			n.tombs = append(n.tombs, t)
		}
	}
	return n
}

// runsKept is how many runs are remembered beside those that entries name.
const runsKept = 10

// trim forgets runs and sets of indexes that nothing names.
func (r *room) trim() {
	used := map[uint32]bool{}
	sets := map[uint16]uint16{}
	var taken [][]string
	set := func(old uint16) uint16 {
		if old == 0 || int(old) > len(r.head.Taken) {
			return 0
		}
		if sets[old] == 0 {
			taken = append(taken, r.head.Taken[old-1])
			sets[old] = uint16(len(taken))
		}
		return sets[old]
	}
	for _, list := range [][]entry{r.specs, r.lone.list} {
		for i := range list {
			if e := &list[i]; e.run != 0 {
				used[e.run] = true
				e.taken = set(e.taken)
			}
		}
	}
	for i := range r.tombs {
		t := &r.tombs[i]
		used[t.run] = true
		t.taken = set(t.taken)
	}
	r.head.Taken = taken
	old := len(r.head.Runs) - runsKept
	var runs []roomRun
	for i, run := range r.head.Runs {
		if i >= old || used[run.N] {
			runs = append(runs, run)
		}
	}
	r.head.Runs = runs
}
