package janitor

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
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
	Own       Share          `json:"own"`       // the janitor's: trash, journals, notes
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
func NewReport(ctx context.Context, store buildcache.Store, s *Scan, biggest int, now time.Time) (Report, error) {
	r := Report{Biggest: []SpecShare{}, Packages: []PackageShare{}, Unindexed: []string{}}
	for o, err := range store.List(ctx, Prefix) {
		if err != nil {
			return r, fmt.Errorf("list %s: %w", Prefix, err)
		}
		r.Own.add(o)
	}
	r.specs(s, now)
	r.objects(s)
	slices.SortFunc(r.Biggest, func(a, b SpecShare) int { return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Hash, b.Hash)) })
	r.Biggest = r.Biggest[:min(max(0, biggest), len(r.Biggest))]
	return r, nil
}

func (r *Report) specs(s *Scan, now time.Time) {
	for _, a := range ages {
		r.Ages = append(r.Ages, Share{Name: a.name})
	}
	packages := map[string]*PackageShare{}
	for spec := range s.described() {
		r.Totals.Specs++
		share := spec.share()
		r.Biggest = append(r.Biggest, share)
		if !spec.indexed {
			r.Unindexed = append(r.Unindexed, share.Spec)
		}
		p := packages[spec.name]
		if p == nil {
			p = &PackageShare{Share: Share{Name: spec.name}, versions: map[string]bool{}}
			packages[spec.name] = p
		}
		p.versions[spec.version] = true
		if share.Uploaded.After(p.Newest) {
			p.Newest = share.Uploaded
		}
		old := slices.IndexFunc(ages, func(a age) bool { return now.Sub(share.Uploaded) < a.below })
		for _, part := range []*Share{&p.Share, &r.Ages[old]} {
			part.Specs++
			part.Objects += len(spec.objects)
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
func (r *Report) objects(s *Scan) {
	kinds := map[Kind]*Share{}
	for o := range s.everything() {
		if o.Kind == Own {
			continue
		}
		if kinds[o.Kind] == nil {
			kinds[o.Kind] = &Share{Name: fmt.Sprint(o.Kind)}
		}
		kinds[o.Kind].add(o.Object)
		if o.Kind.counts() {
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
		if o, ok := s.lookup(key); ok {
			r.Orphans.add(o.Object)
		}
	}
	r.Damaged = len(findings.Damage)
}

// A described is a spec with all its objects.
type described struct {
	hash          buildcache.Hash
	name, version string
	indexed       bool
	objects       []Object
}

func (d *described) share() SpecShare {
	share := SpecShare{Spec: (&buildcache.Spec{Hash: d.hash, Name: d.name, Version: d.version}).String(), Hash: d.hash}
	for _, o := range d.objects {
		share.Bytes += o.Size
		if o.ModTime.After(share.Uploaded) {
			share.Uploaded = o.ModTime
		}
	}
	return share
}

func (s *Scan) described() iter.Seq[described] {
	return func(yield func(described) bool) {
		for hash, spec := range s.Specs {
			d := described{hash: hash, name: spec.Name, version: spec.Version, indexed: spec.Indexed}
			for _, o := range s.objectsOf(spec) {
				d.objects = append(d.objects, *o)
			}
			if !yield(d) {
				return
			}
		}
	}
}

func (s *Scan) everything() iter.Seq[Object] {
	return func(yield func(Object) bool) {
		for _, o := range s.Objects {
			if !yield(*o) {
				return
			}
		}
	}
}

func (s *Scan) lookup(key string) (Object, bool) {
	o := s.Objects[key]
	if o == nil {
		return Object{}, false
	}
	return *o, true
}

// Names returns the names of the packages in the cache.
func (s *Scan) Names() []string {
	names := map[string]bool{}
	for spec := range s.described() {
		names[spec.name] = true
	}
	return slices.Sorted(maps.Keys(names))
}
