package janitor

import (
	"cmp"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor/dag"
	"github.com/openbraininstitute/spacktainers/janitor/room"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// A Condemned is a spec, or an object that belongs to none, that is not live or
// has come back.
type Condemned struct {
	State   string          `json:"state"`          // condemn, refused, waiting, held, due or back
	Hash    buildcache.Hash `json:"hash,omitempty"` // of a spec
	Key     string          `json:"key,omitempty"`  // of an object
	Name    string          `json:"name,omitempty"`
	Version string          `json:"version,omitempty"`
	Reason  string          `json:"reason"`           // why it is condemned, or back
	Needs   string          `json:"needs,omitempty"`  // for a dependent: what goes that it needs
	HeldBy  string          `json:"held_by,omitzero"` // what keeps it though it has waited
	Since   time.Time       `json:"since,omitzero"`   // when it was condemned, by our clock
	Due     time.Time       `json:"due,omitzero"`     // when it has waited
	Bytes   int64           `json:"bytes"`
	Seconds float64         `json:"seconds,omitempty"` // to build it again, where a target size is given
	Guess   bool            `json:"guess,omitempty"`   // Seconds is estimated
}

// A Kept is a spec that stays.
type Kept struct {
	Hash  buildcache.Hash `json:"hash"`
	Name  string          `json:"name"`
	Rule  string          `json:"rule"`
	Chain []string        `json:"chain"` // from what the rule names to the spec itself
	Bytes int64           `json:"bytes"`
}

// A Deletion is an object that is deleted now.
type Deletion struct {
	Key     string          `json:"key"`
	Size    int64           `json:"bytes"`
	ETag    string          `json:"etag"`
	ModTime time.Time       `json:"written"`
	Kind    string          `json:"kind"`
	Spec    string          `json:"spec,omitempty"`
	Hash    buildcache.Hash `json:"hash,omitempty"`
	Reason  string          `json:"reason"`
}

// Specs yields the specs that are condemned or have come back, by name, version
// and hash.
func (p *Plan) Specs() iter.Seq[Condemned] {
	s := p.look.scan
	var all []dag.ID
	for at := range s.InCache() {
		if p.condemned(at) || p.room.Spec(at).Run != 0 && !p.leaves(at) {
			all = append(all, at)
		}
	}
	d := s.DAG
	slices.SortFunc(all, func(a, b dag.ID) int {
		if c := cmp.Or(strings.Compare(d.Name(a), d.Name(b)), strings.Compare(d.Version(a), d.Version(b))); c != 0 {
			return c
		}
		return cmp.Compare(d.Hash(a), d.Hash(b))
	})
	return func(yield func(Condemned) bool) {
		for _, at := range all {
			if !yield(p.spec(at)) {
				return
			}
		}
	}
}

func (p *Plan) spec(at dag.ID) Condemned {
	s := p.look.scan
	e := p.room.Spec(at)
	c := Condemned{Hash: s.DAG.Hash(at), Name: s.DAG.Name(at), Version: s.DAG.Version(at)}
	for _, o := range s.All(at) {
		if p.all.Has(o) || !p.condemned(at) {
			c.Bytes += s.Objects.At(o).Size
		}
	}
	if !p.condemned(at) {
		c.State, c.Reason = "back", p.whyBack(at)
		p.times(&c, e, live)
		return c
	}
	c.State, c.Reason = p.state[at].String(), p.why[at].String()
	if price := p.prices[at]; price != nil {
		c.Seconds, c.Guess = price.Seconds, price.Estimated
	}
	if n, ok := p.needs[at]; ok {
		c.Needs = s.DAG.Text(n)
	}
	if p.state[at] == holding {
		c.HeldBy = p.whyHeld(at, e)
	}
	p.times(&c, e, p.state[at])
	return c
}

// times says since when something is condemned, and until when it waits.
func (p *Plan) times(c *Condemned, e room.Entry, st state) {
	since, ok := p.room.When(e.Run)
	if !ok || st == fresh {
		since = p.now
	}
	if st == refused {
		return
	}
	c.Since = since.Ours
	if st != live {
		from := p.now
		if st != fresh {
			from, _ = p.waitsFrom(e.Run)
		}
		c.Due = from.Ours.Add(p.Policy.Wait)
	}
}

func (p *Plan) whyBack(at dag.ID) string {
	if p.marks != nil && p.marks.has(at) {
		rule, _ := p.marks.chain(at)
		return rule
	}
	return "it is needed"
}

// whyHeld says what keeps a spec that has waited.
func (p *Plan) whyHeld(at dag.ID, e room.Entry) string {
	s := p.look.scan
	switch {
	case p.stop != "":
		return p.stop
	case p.held.has(at) && p.held.from[at] != 0:
		return s.DAG.Text(p.held.from[at] - 1)
	}
	if since, ok := p.room.When(e.Run); ok && !p.look.refreshedSince(since) {
		return "the root set " + p.look.slowest + ", which was not refreshed since " + p.look.oldest.UTC().Format(time.DateOnly)
	}
	return "the plan that was reviewed"
}

// Orphans yields the objects that belong to no spec and are condemned, by key.
func (p *Plan) Orphans() iter.Seq[Condemned] {
	return func(yield func(Condemned) bool) {
		s := p.look.scan
		for i := range p.lone.All() {
			st, e := p.loneState(i), p.room.Lone.Get(s.Objects.Key(i))
			c := Condemned{State: st.String(), Key: s.Objects.Key(i), Reason: room.Orphan.String(), Bytes: s.Objects.At(i).Size}
			if st == holding {
				c.HeldBy = p.whyHeldLone(e)
			}
			p.times(&c, e, st)
			if !yield(c) {
				return
			}
		}
	}
}

func (p *Plan) whyHeldLone(e room.Entry) string {
	if p.stop != "" {
		return p.stop
	}
	return "the root set " + p.look.slowest + ", which was not refreshed since"
}

// Kept yields the specs that are live.
func (p *Plan) Kept() iter.Seq[Kept] {
	return func(yield func(Kept) bool) {
		s := p.look.scan
		for at := range s.InCache() {
			if p.condemned(at) {
				continue
			}
			k := Kept{Hash: s.DAG.Hash(at), Name: s.DAG.Name(at), Rule: keepYoung, Chain: []string{s.DAG.Text(at)}}
			for _, o := range s.All(at) {
				k.Bytes += s.Objects.At(o).Size
			}
			if p.marks != nil && p.marks.has(at) {
				k.Rule, k.Chain = p.marks.chain(at)
			}
			if !yield(k) {
				return
			}
		}
	}
}

// Deletions yields the objects that are deleted now, by key.
func (p *Plan) Deletions() iter.Seq[Deletion] {
	return func(yield func(Deletion) bool) {
		s := p.look.scan
		owners := make([]uint32, len(s.Blobs)) // the first spec that goes and names a blob, + 1
		for at := range p.due.All() {
			for _, o := range s.Own(at) {
				for _, b := range s.BlobsNamed(o) {
					if owners[b] == 0 {
						owners[b] = at + 1
					}
				}
			}
		}
		for i, key := range s.Objects.All() {
			if !p.objects.Has(i) {
				continue
			}
			o := s.Objects.At(i)
			of := o.Of
			if o.Kind == scan.Blob && of != 0 {
				of = owners[of-1]
			}
			d := Deletion{Key: string(key), Size: o.Size, ETag: s.Objects.ETag(o.ETag), ModTime: o.Time(), Kind: o.Kind.String(), Reason: room.Orphan.String()}
			if of != 0 && p.isDue(of-1) {
				d.Spec, d.Hash, d.Reason = s.DAG.Text(of-1), s.DAG.Hash(of-1), p.why[of-1].String()
			}
			if !yield(d) {
				return
			}
		}
	}
}
