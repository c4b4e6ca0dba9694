package janitor

import (
	"fmt"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache/index"
	"github.com/openbraininstitute/spacktainers/janitor/clock"
	"github.com/openbraininstitute/spacktainers/janitor/dag"
	"github.com/openbraininstitute/spacktainers/janitor/room"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// A Plan is what a run would do, and why: a value that can be shown, written
// down and applied. It holds on to the look that it was made from.
type Plan struct {
	Head

	look  *look
	now   clock.Moment
	room  *room.Room
	purge *Purge // nil: a prune

	marks *marks            // why specs are live
	why   []room.Reason     // by spec: why it is not live; past the end: it is
	needs map[dag.ID]dag.ID // by dependent that goes: what goes that it needs
	state []state           // by spec that is condemned
	held  *marks            // what present specs that are not due need at run time

	due     index.Bits // specs that are deleted now
	objects index.Bits // objects that are deleted now: those of due specs, and lone ones
	all     index.Bits // objects that are condemned, due or not
	lone    index.Bits // those of them that belong to no spec
	limits  limits     // what a plan that was reviewed allows
	stop    string     // why nothing is due
	steady  room.Run   // the first since which no clock was set
	let     bool       // the brake was raised
	prices  map[dag.ID]*Priced
}

// A Head is a plan without its lists.
type Head struct {
	Run     string        `json:"run"`
	Mirror  string        `json:"mirror"`
	Made    time.Time     `json:"made"`
	Roots   string        `json:"roots"` // digest
	Policy  Policy        `json:"policy"`
	Refused string        `json:"refused,omitempty"` // why the plan must not be applied
	Brake   string        `json:"brake,omitempty"`   // why nothing new is condemned
	Mend    []string      `json:"mend,omitempty"`    // what is wrong with the indexes and is put right
	Damage  []scan.Damage `json:"damage,omitempty"`
	Notes   []string      `json:"notes,omitempty"` // what a person should know
	Target  *Target       `json:"target,omitempty"`
	First   time.Time     `json:"first,omitzero"` // when the first of what waits may go
	Before  Totals        `json:"before"`
	Room    Totals        `json:"condemned"` // waiting, held and due
	Due     Totals        `json:"due"`       // deleted now
	After   Totals        `json:"after"`     // when all that is condemned has gone
}

// Totals count what a mirror holds of packages; what is foreign does not count.
type Totals struct {
	Specs   int   `json:"specs"`
	Objects int   `json:"objects"`
	Bytes   int64 `json:"bytes"`
}

func (t Totals) less(u Totals) Totals {
	return Totals{t.Specs - u.Specs, t.Objects - u.Objects, t.Bytes - u.Bytes}
}

// A state is how far a condemned spec or object is.
type state uint8

const (
	live    state = iota
	fresh         // it enters the room in this run
	refused       // the brake keeps it out
	waiting       // it has not waited long enough
	holding       // it has, and something present needs it, or nobody has said since that it does not
	due           // it is deleted in this run
)

var states = [...]string{"live", "condemn", "refused", "waiting", "held", "due"}

func (s state) String() string { return states[s] }

// Empty says that there is nothing to do but to note what waits.
func (p *Plan) Empty() bool {
	return p.objects.Count() == 0 && len(p.Mend) == 0 && p.Room.Objects == 0
}

// isDue reports whether a spec is deleted in this run.
func (p *Plan) isDue(at dag.ID) bool { return p.due.Has(at) }

// condemned reports whether a spec is not live.
func (p *Plan) condemned(at dag.ID) bool { return int(at) < len(p.why) && p.why[at] != 0 }

// allocate makes room for all specs that are known by now.
func (p *Plan) allocate() {
	n := p.look.scan.DAG.Len()
	p.why = append(p.why, make([]room.Reason, n-len(p.why))...)
	p.state = append(p.state, make([]state, n-len(p.state))...)
	p.needs = map[dag.ID]dag.ID{}
	p.due = index.NewBits(n)
	p.objects = index.NewBits(p.look.scan.Objects.Len())
	p.all = index.NewBits(p.look.scan.Objects.Len())
	p.lone = index.NewBits(p.look.scan.Objects.Len())
}

func (p *Plan) refuse(err error) (*Plan, error) {
	p.Refused = err.Error()
	return p, err
}

// count counts some objects of packages, and specs.
func (p *Plan) count(objects index.Bits, specs int) Totals {
	t := Totals{Specs: specs}
	for i := range objects.All() {
		t.Objects++
		t.Bytes += p.look.scan.Objects.At(i).Size
	}
	return t
}

// finish counts.
func (p *Plan) finish() {
	s := p.look.scan
	p.Before = Totals{Specs: s.Present.Count()}
	for i := range s.Of(scan.SpecFile, scan.Tarball, scan.Manifest, scan.Blob) {
		p.Before.Objects++
		p.Before.Bytes += s.Objects.At(i).Size
	}
	specs := 0
	for at := range s.InCache() {
		if p.condemned(at) {
			specs++
		}
	}
	p.Room = p.count(p.all, specs)
	p.Due = p.count(p.objects, p.due.Count())
	p.After = p.Before.less(p.Room)
}

// brake refuses to condemn too much. What an earlier run let through does not
// count again.
func (p *Plan) brake(through index.Bits) {
	s := p.look.scan
	specs, bytes := p.Room.Specs, p.Room.Bytes
	for at := range through.All() {
		specs--
		for _, o := range s.All(at) {
			if p.all.Has(o) {
				bytes -= s.Objects.At(o).Size
			}
		}
	}
	bytes = max(0, bytes)
	of := float64(specs) / float64(max(1, p.Before.Specs))
	most := max(of, float64(bytes)/float64(max(1, p.Before.Bytes)))
	limit := p.Policy.MaxFraction
	if p.Policy.Raise > 0 {
		p.let = most > limit && most <= p.Policy.Raise
		limit = p.Policy.Raise
	}
	if most > limit {
		p.Brake = fmt.Sprintf("%.0f %% of the specs and %.0f %% of the bytes would be condemned, the limit is %.0f %%: if that is right, raise it with --max-fraction",
			100*of, 100*float64(bytes)/float64(max(1, p.Before.Bytes)), 100*limit)
	}
}
