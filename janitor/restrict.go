package janitor

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
)

// Decisions are what a plan says, by names that outlive a scan.
type decisions struct {
	Head
	going     iter.Seq[Going]
	deletions iter.Seq[Deletion]
	stay      iter.Seq[buildcache.Hash]
	marks     *marks // of the same dag
}

func (p *Plan) decisions() decisions {
	return decisions{p.Head, p.Going(), p.Deletions(), func(yield func(buildcache.Hash) bool) {
		for at := range p.stay.All() {
			if !yield(p.scan.dag.hash(at)) {
				return
			}
		}
	}, p.marks}
}

// restrict returns the part of a plan that is still right for what a mirror
// holds now, and a sentence for each thing that stays though the plan has it.
// A plan never grows.
//
// What changed since stays, as somebody pushed it again. What is new stays with
// all that it needs: whoever pushed it may have skipped what was there.
func restrict(d decisions, s *Scan) (Plan, []string) {
	p := Plan{Head: d.Head, scan: s, marks: d.marks}
	p.allocate()
	known := index.NewBits(s.dag.len())
	for g := range d.going {
		if at, ok := s.dag.lookup(g.Hash); ok {
			p.why[at] = reason(max(1, slices.Index(reasons[:], g.Reason)))
			known.Set(at)
		}
	}
	for h := range d.stay {
		if at, ok := s.dag.lookup(h); ok {
			p.stay.Set(at)
			known.Set(at)
		}
	}
	same, changed, lone := index.NewBits(s.objects.len()), index.NewBits(s.objects.len()), index.NewBits(s.objects.len())
	for x := range d.deletions {
		i, ok := s.objects.find(x.Key)
		switch {
		case !ok || !s.has(i):
		case !x.same(s.objects.get(i)):
			changed.Set(i)
		default:
			same.Set(i)
			if x.Hash == "" {
				lone.Set(i)
			}
		}
	}
	notes := p.spare(known, same, changed)
	used := p.used()
	for i := range same.All() {
		o := s.objects.at(i)
		switch {
		case !o.kind.deletable():
		case o.kind == Blob && o.of != 0 && used.Has(o.of-1):
		case o.kind != Blob && o.of != 0 && !lone.Has(i) && !p.goes(o.of-1):
		case o.kind == Tarball && lone.Has(i) && s.owned(i):
		default:
			p.objects.Set(i)
		}
	}
	return p, notes
}

// spare takes out of a plan what changed, and what new specs need.
func (p *Plan) spare(known, same, changed index.Bits) (notes []string) {
	s := p.scan
	young, rest := newMarks(s, p.Policy.edges()), newMarks(s, buildcache.Runtime)
	for at := range s.specs() {
		if why := s.touched(at, same, changed); p.goes(at) && why != "" {
			notes = append(notes, fmt.Sprintf("%s stays: %s", s.dag.text(at), why))
			young.keep("changed", at)
		} else if !known.Has(at) {
			young.keep("new", at)
		} else if !p.goes(at) {
			rest.keep("stays", at)
		}
	}
	for at := range p.going() {
		if !young.has(at) && !rest.has(at) {
			continue
		}
		p.why[at] = 0
		if young.has(at) && young.from[at] != 0 {
			_, chain := young.chain(at)
			notes = append(notes, fmt.Sprintf("%s stays: %s was pushed since and needs it", s.dag.text(at), chain[0]))
		}
	}
	return notes
}

// touched says how a spec differs from the one that was planned to go.
func (s *Scan) touched(at id, same, changed index.Bits) string {
	for _, i := range s.all(at) {
		what := "its " + s.objects.at(i).kind.String() + " " + s.objects.key(i)
		switch {
		case changed.Has(i):
			return what + " was written since"
		case !same.Has(i) && s.objects.at(i).kind != Blob: // a blob that others use was not planned to go
			return what + " is new"
		}
	}
	return ""
}

// A Reviewed plan is one that was written down, and read again.
type Reviewed struct {
	Head
	Going  []Going    `json:"specs"`
	Delete []Deletion `json:"delete"`
	Keep   []Kept     `json:"keep"`
}

// ReadPlan reads what WriteJSON has written.
func ReadPlan(r io.Reader) (*Reviewed, error) {
	var p Reviewed
	if err := json.NewDecoder(r).Decode(&p); err != nil {
		return nil, err
	}
	for _, g := range p.Going {
		if slices.Index(reasons[:], g.Reason) < 1 {
			return nil, fmt.Errorf("%w: %s goes because it is %q, which is no reason", buildcache.ErrFormat, g.Hash, g.Reason)
		}
	}
	return &p, nil
}

// For returns the part of a reviewed plan that is still right for what a mirror
// holds now. Its notes say what stays though the plan has it.
func (p *Reviewed) For(s *Scan) (Plan, error) {
	q, notes := restrict(decisions{p.Head, slices.Values(p.Going), slices.Values(p.Delete), func(yield func(buildcache.Hash) bool) {
		for _, k := range p.Keep {
			if !yield(k.Hash) {
				return
			}
		}
	}, nil}, s)
	q.Notes = append(q.Notes, notes...)
	q.finish()
	if q.Refused != "" {
		return q, fmt.Errorf("%w: %s", ErrRefused, q.Refused)
	}
	return q, Prove(q, s)
}
