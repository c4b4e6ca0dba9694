package janitor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor/listing"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// A Report is the picture of a mirror: what takes the space. Blobs that
// several specs share count for each of them, and once in the totals.
type Report struct {
	Totals    Totals         `json:"totals"`
	Kinds     []Share        `json:"kinds"`     // of objects, the biggest first
	Packages  []PackageShare `json:"packages"`  // the biggest first
	Ages      []Share        `json:"ages"`      // by upload, the youngest first
	Biggest   []SpecShare    `json:"biggest"`   // specs
	Unindexed []string       `json:"unindexed"` // specs that are in no index
	Orphans   Share          `json:"orphans"`   // nothing refers to them
	Own       Share          `json:"own"`       // the janitor's: the room, the lease, root sets
	Damaged   int            `json:"damaged"`   // janitor:verify says what
}

// A Share is a part of a mirror.
type Share struct {
	Name    string `json:"name,omitempty"`
	Specs   int    `json:"specs,omitempty"`
	Objects int    `json:"objects"`
	Bytes   int64  `json:"bytes"`
}

func (s *Share) add(o buildcache.Object) {
	s.Objects++
	s.Bytes += o.Size
}

func (s Share) compare(t Share) int {
	return cmp.Or(cmp.Compare(t.Bytes, s.Bytes), cmp.Compare(s.Name, t.Name))
}

// A PackageShare is what all specs of a package take.
type PackageShare struct {
	Share
	Versions int       `json:"versions"`
	Newest   time.Time `json:"newest"` // upload

	versions map[string]bool
}

// A SpecShare is what a spec takes.
type SpecShare struct {
	Spec     string          `json:"spec"`
	Hash     buildcache.Hash `json:"hash"`
	Bytes    int64           `json:"bytes"`
	Uploaded time.Time       `json:"uploaded"`
}

// An age is a class of those below a limit and above the one before.
type age struct {
	name  string
	below time.Duration
}

var ages = []age{
	{"up to a week", 7 * 24 * time.Hour}, {"up to 30 days", 30 * 24 * time.Hour}, {"up to 90 days", 90 * 24 * time.Hour},
	{"up to a year", 365 * 24 * time.Hour}, {"older", 1<<63 - 1},
}

// NewReport describes a mirror that was scanned, with so many of the biggest
// specs. It lists what is our own, which a scan need not have.
func NewReport(ctx context.Context, store buildcache.Store, s *scan.Scan, biggest int, now time.Time) (Report, error) {
	r := Report{Biggest: []SpecShare{}, Packages: []PackageShare{}, Unindexed: []string{}}
	for o, err := range store.List(ctx, ".spacktainers/") {
		if err != nil {
			return r, fmt.Errorf("list .spacktainers/: %w", err)
		}
		r.Own.add(o)
	}
	r.specs(s, now)
	r.objects(s)
	slices.SortFunc(r.Biggest, func(a, b SpecShare) int { return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Hash, b.Hash)) })
	r.Biggest = r.Biggest[:min(max(0, biggest), len(r.Biggest))]
	return r, nil
}

func (r *Report) specs(s *scan.Scan, now time.Time) {
	for _, a := range ages {
		r.Ages = append(r.Ages, Share{Name: a.name})
	}
	packages := map[string]*PackageShare{}
	for spec := range s.Specs() {
		r.Totals.Specs++
		share := shareOf(&spec)
		r.Biggest = append(r.Biggest, share)
		if !spec.Indexed {
			r.Unindexed = append(r.Unindexed, share.Spec)
		}
		p := packages[spec.Name]
		if p == nil {
			p = &PackageShare{Share: Share{Name: spec.Name}, versions: map[string]bool{}}
			packages[spec.Name] = p
		}
		p.versions[spec.Version] = true
		if share.Uploaded.After(p.Newest) {
			p.Newest = share.Uploaded
		}
		old := slices.IndexFunc(ages, func(a age) bool { return now.Sub(share.Uploaded) < a.below })
		for _, part := range []*Share{&p.Share, &r.Ages[old]} {
			part.Specs++
			part.Objects += len(spec.Objects)
			part.Bytes += share.Bytes
		}
	}
	slices.Sort(r.Unindexed)
	for _, p := range packages {
		p.Versions = len(p.versions)
		r.Packages = append(r.Packages, *p)
	}
	slices.SortFunc(r.Packages, func(a, b PackageShare) int { return a.compare(b.Share) })
}

// objects counts them by kind, and those that belong to nothing.
func (r *Report) objects(s *scan.Scan) {
	kinds := map[scan.Kind]*Share{}
	for i := range listing.ID(s.Objects.Len()) {
		o := scan.Object{Object: s.Objects.Get(i), Kind: s.Objects.At(i).Kind}
		if kinds[o.Kind] == nil {
			kinds[o.Kind] = &Share{Name: o.Kind.String()}
		}
		kinds[o.Kind].add(o.Object)
		if scan.IsPart(o.Kind) {
			r.Totals.Objects++
			r.Totals.Bytes += o.Size
		}
	}
	for _, share := range kinds {
		r.Kinds = append(r.Kinds, *share)
	}
	slices.SortFunc(r.Kinds, Share.compare)
	findings := Verify(s)
	for _, key := range findings.Orphans {
		if o, ok := s.Object(key); ok {
			r.Orphans.add(o.Object)
		}
	}
	r.Damaged = len(findings.Damage)
}

func shareOf(s *scan.Spec) SpecShare {
	share := SpecShare{Spec: (&buildcache.Spec{Hash: s.Hash, Name: s.Name, Version: s.Version}).String(), Hash: s.Hash}
	for _, o := range s.Objects {
		share.Bytes += o.Size
		if o.ModTime.After(share.Uploaded) {
			share.Uploaded = o.ModTime
		}
	}
	return share
}

// Report is NewReport of what a plan has seen.
func (p *Plan) Report(ctx context.Context, store buildcache.Store, biggest int, now time.Time) (Report, error) {
	return NewReport(ctx, store, p.look.scan, biggest, now)
}

// Names returns the names of the packages in the cache.
func (p *Plan) Names() []string { return p.look.scan.Names() }
