package janitor

import (
	"context"
	"encoding/hex"
	"fmt"
	"iter"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor/dag"
	"github.com/openbraininstitute/spacktainers/janitor/listing"
	"github.com/openbraininstitute/spacktainers/janitor/retain"
	"github.com/openbraininstitute/spacktainers/janitor/room"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// keepDear is the rule that keeps what no root needs, as long as there is room for it.
const keepDear = "dear to build again, and the target size has room for it"

// A Priced is a spec that no root needs, with what it takes to build it again.
type Priced struct {
	Spec      buildcache.Spec // name, version and hash
	Key       string          // of its tarball; "" if there is none
	Digest    string          // names the tarball's bytes: its checksum, or else its ETag
	Size      int64           // of the tarball, in bytes
	Seconds   float64         // to be filled in
	Estimated bool            // Seconds is a guess
}

// A Target is what a target size comes to.
type Target struct {
	Size      int64   `json:"bytes"`      // that was asked for, in bytes
	Needed    int64   `json:"needed"`     // bytes of what stays whatever the target is
	Kept      int     `json:"kept"`       // specs that no root needs, and that stay all the same
	KeptBytes int64   `json:"kept_bytes"` // theirs
	Freed     int64   `json:"freed"`      // bytes of specs that are condemned
	Lost      float64 `json:"lost"`       // seconds to build what is condemned again
	Saved     float64 `json:"saved"`      // seconds to build what is kept again
	Estimated int     `json:"estimated"`  // specs of both of which the time to build is a guess
}

// String returns it in one sentence.
func (t Target) String() string {
	const mega = 1e6
	text := fmt.Sprintf("%.1f MB go that take %.1f min to build again, %d specs of %.1f MB that take %.1f min are kept though no root needs them",
		float64(t.Freed)/mega, t.Lost/60, t.Kept, float64(t.KeptBytes)/mega, t.Saved/60)
	if t.Estimated > 0 {
		text += fmt.Sprintf("; %d of these times are estimated", t.Estimated)
	}
	if t.Needed > t.Size {
		text += fmt.Sprintf("; %.1f MB are needed, so that the target of %.1f MB is out of reach", float64(t.Needed)/mega, float64(t.Size)/mega)
	}
	return text
}

// price asks what the specs take to build that a plan without a target would condemn.
func (j *Janitor) price(ctx context.Context, p *Plan) error {
	s := p.look.scan
	var all []*Priced
	prices := map[dag.ID]*Priced{}
	for at := range s.InCache() {
		if p.condemned(at) {
			prices[at] = priced(s, at)
			all = append(all, prices[at])
		}
	}
	if j.Price == nil {
		return fmt.Errorf("%w: a target size is given, and nothing that says what packages take to build", ErrRefused)
	}
	if err := j.Price(ctx, all); err != nil {
		return err
	}
	j.prices = prices
	return nil
}

// AllPriced returns all specs that are in the cache, without what they take to build.
func AllPriced(s *scan.Scan) (all []*Priced) {
	for at := range s.InCache() {
		all = append(all, priced(s, at))
	}
	return all
}

func priced(s *scan.Scan, at dag.ID) *Priced {
	p := &Priced{Spec: buildcache.Spec{Name: s.DAG.Name(at), Version: s.DAG.Version(at), Hash: s.DAG.Hash(at)}}
	for _, o := range s.All(at) {
		switch x := s.Objects.At(o); {
		case x.Kind == scan.Tarball:
			p.Key, p.Size, p.Digest = s.Objects.Key(o), x.Size, s.Objects.ETag(x.ETag)
		case x.Kind == scan.Blob && x.Of != 0 && s.Blobs[x.Of-1].Form&scan.SpecBlob == 0:
			sum := s.Blobs[x.Of-1].Sum
			p.Key, p.Size, p.Digest = s.Objects.Key(o), x.Size, "sha256:"+hex.EncodeToString(sum[:])
			return p // v3 goes before v2, as it says what the bytes are
		}
	}
	return p
}

// keepWhatIsDear keeps, of what would be condemned, what is dear to build again, as far as the target
// size has room. It only ever condemns less.
func (p *Plan) keepWhatIsDear(m *marks, prices map[dag.ID]*Priced) {
	s := p.look.scan
	var specs []dag.ID
	number := map[dag.ID]int{}
	for at := range s.InCache() {
		if p.condemned(at) {
			number[at] = len(specs)
			specs = append(specs, at)
		}
	}
	used := s.UsedBlobs(func(manifest listing.ID) bool {
		of := s.Objects.At(manifest).Of
		return of != 0 && p.condemned(of-1)
	})
	needed := func(at dag.ID) iter.Seq[dag.ID] { // but what stays anyhow, and with it all that this needs
		return func(yield func(dag.ID) bool) {
			for to, types := range s.DAG.Edges(at) {
				if types&m.types != 0 && !m.has(to) && !yield(to) {
					return
				}
			}
		}
	}
	items, lost := make([]retain.Item, len(specs)), make([]float64, len(specs))
	t := &Target{Size: p.Policy.TargetSize, Needed: p.wholeSize()}
	for i, at := range specs {
		item := &items[i]
		for _, o := range s.All(at) {
			if x := s.Objects.At(o); x.Kind != scan.Blob || !used.Has(x.Of-1) {
				item.Size += x.Size
			}
		}
		item.Needs = retain.Needs(at, needed, number)
		if price := prices[at]; price != nil && p.why[at] != room.Stale { // what has no recipe cannot be built again
			lost[i] = price.Seconds
			item.Seconds = price.Seconds * retain.Fade(p.seen().Sub(s.Uploaded(at)), p.Policy.HalfLife)
			if price.Estimated {
				t.Estimated++
			}
		}
		item.Marked = p.room.Spec(at).Run != 0
		t.Needed -= item.Size
	}
	free := t.Needed - t.Size
	for _, item := range items {
		free += item.Size
	}
	for i, goes := range retain.Choose(items, free) {
		if goes {
			t.Freed, t.Lost = t.Freed+items[i].Size, t.Lost+lost[i]
			continue
		}
		t.Kept, t.KeptBytes, t.Saved = t.Kept+1, t.KeptBytes+items[i].Size, t.Saved+lost[i]
		p.why[specs[i]] = 0
		m.keep(keepDear, specs[i])
	}
	p.Target = t
}

// wholeSize is what packages take in bytes, but for the lone objects that are condemned.
func (p *Plan) wholeSize() (bytes int64) {
	s := p.look.scan
	for i := range s.Of(scan.SpecFile, scan.Tarball, scan.Manifest, scan.Blob) {
		if !p.lone.Has(i) {
			bytes += s.Objects.At(i).Size
		}
	}
	return bytes
}
