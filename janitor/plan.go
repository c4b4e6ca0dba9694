package janitor

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A Plan is what a run would do, and why: a value that can be read, kept and
// applied later.
type Plan struct {
	Run     string     `json:"run"`    // names the run, and its journal
	Mirror  string     `json:"mirror"` // for people; the store decides
	Made    time.Time  `json:"made"`
	Policy  Policy     `json:"policy"`
	Refused string     `json:"refused,omitempty"` // why the plan must not be applied
	Going   []Going    `json:"specs"`             // specs that go
	Delete  []Deletion `json:"delete"`            // objects that go, theirs and orphans, by key
	Keep    []Kept     `json:"keep"`              // specs that stay, and why
	Mend    []string   `json:"mend,omitempty"`    // what is wrong with the indexes and is put right
	Damage  []Damage   `json:"damage,omitempty"`
	Notes   []string   `json:"notes,omitempty"` // what a person should know
	Before  Totals     `json:"before"`
	After   Totals     `json:"after"`
}

// Totals count what a mirror holds of packages; what is foreign does not count.
type Totals struct {
	Specs   int   `json:"specs"`
	Objects int   `json:"objects"`
	Bytes   int64 `json:"bytes"`
}

// A Going is a spec that goes.
type Going struct {
	Hash     buildcache.Hash `json:"hash"`
	Name     string          `json:"name"`
	Version  string          `json:"version"`
	Reason   string          `json:"reason"`
	Needs    string          `json:"needs,omitempty"` // for a dependent: what goes that it needs
	Uploaded time.Time       `json:"uploaded"`
	Bytes    int64           `json:"bytes"`
}

// A Kept is a spec that stays.
type Kept struct {
	Hash  buildcache.Hash `json:"hash"`
	Name  string          `json:"name"`
	Rule  string          `json:"rule"`
	Chain []string        `json:"chain"` // from what the rule names to the spec itself
	Bytes int64           `json:"bytes"`
}

// A Deletion is an object that goes. It is deleted only as long as it is the
// one that was seen.
type Deletion struct {
	Key     string          `json:"key"`
	Size    int64           `json:"size"`
	ETag    string          `json:"etag"`
	ModTime time.Time       `json:"written"`
	Age     string          `json:"age"`
	Kind    Kind            `json:"kind"`
	Spec    string          `json:"spec,omitempty"`
	Hash    buildcache.Hash `json:"hash,omitempty"`
	Reason  string          `json:"reason"`
}

// same says whether an object is still the one that was seen.
func (d Deletion) same(o *Object) bool {
	return o.Size == d.Size && o.ETag == d.ETag && o.ModTime.Equal(d.ModTime)
}

// Empty says that there is nothing to do.
func (p Plan) Empty() bool { return len(p.Delete) == 0 && len(p.Mend) == 0 }

// NewPlan decides what goes. With an error nothing may be applied; the plan is
// then what would have been done, as far as it got.
func NewPlan(s *Scan, roots Roots, policy Policy, now time.Time) (Plan, error) {
	p := newPlan(s, policy, now)
	if err := errors.Join(roots.check(s, policy.NoRoots), policy.check()); err != nil {
		return p.refuse(err)
	}
	m := newMarks(s, policy.edges())
	p.Notes = append(p.Notes, markRoots(m, roots)...)
	markUsed(m, policy, now)
	markYoung(m, keepGrace, policy.Grace, now, nil)
	stale := func(spec *Spec) bool { return policy.Packages != nil && !policy.Packages.Has(spec.Name) }
	markLast(m, policy.KeepLast, stale)
	going := map[buildcache.Hash]Going{}
	if policy.NoRoots {
		going = tooOld(m, policy, now, stale)
	} else {
		markYoung(m, keepYoung, policy.MaxAge, now, stale)
		for _, hash := range s.hashes() {
			if spec := s.Specs[hash]; !m.has(hash) && stale(spec) {
				going[hash] = Going{Reason: Stale}
			} else if !m.has(hash) {
				going[hash] = Going{Reason: Unneeded}
			}
		}
	}
	p.fill(s, m, going, now)
	p.orphans(s, m, policy.Grace, now)
	p.finish(s)
	if err := errors.Join(p.brake(), Prove(p, s), proveRoots(p, s, roots)); err != nil {
		return p.refuse(err)
	}
	return p, nil
}

func newPlan(s *Scan, policy Policy, now time.Time) Plan {
	p := Plan{Run: now.UTC().Format("20060102T150405.000Z"), Made: now, Policy: policy, Damage: s.Damage}
	for _, x := range s.indexes {
		if x.stale {
			p.Mend = append(p.Mend, indexHashV2+": it is not the checksum of the index")
		}
		if n := len(x.dangling); n > 0 {
			p.Mend = append(p.Mend, fmt.Sprintf("%s: %d of its entries have no spec file or manifest", x.object.Key, n))
		}
	}
	return p
}

func (p Plan) refuse(err error) (Plan, error) {
	p.Refused = err.Error()
	return p, err
}

func (y Policy) edges() buildcache.DepTypes {
	if y.DropBuild {
		return buildcache.Runtime
	}
	return everything
}

func (y Policy) check() error {
	switch {
	case y.NoRoots && y.MaxAge == 0:
		return fmt.Errorf("%w: without roots and without a max age everything would go: say how old it may get", ErrRefused)
	case y.Packages != nil && len(y.Packages) == 0:
		return fmt.Errorf("%w: the package repositories list nothing, so that every spec would be stale", ErrRefused)
	case y.UsedSince > 0 && len(y.Uses) == 0:
		return fmt.Errorf("%w: what is used shall stay, but no access log says what was", ErrRefused)
	case y.Grace < 0 || y.MaxAge < 0 || y.UsedSince < 0 || y.KeepLast < 0 || y.MaxFraction < 0:
		return fmt.Errorf("%w: a rule of the policy is negative", ErrRefused)
	}
	return nil
}

// markRoots marks what lockfiles and pins keep.
func markRoots(m *marks, roots Roots) (notes []string) {
	for _, l := range roots.Locks {
		m.keepLock(l)
		absent := 0
		for hash, n := range l.File.Specs {
			if !n.External && m.scan.Specs[hash] == nil {
				absent++
			}
		}
		if absent > 0 {
			notes = append(notes, fmt.Sprintf("lock %s: %d of its %d specs are not in the cache", l.Name, absent, len(l.File.Specs)))
		}
	}
	for _, pin := range roots.Pins {
		found := m.scan.match(pin)
		if len(found) == 0 {
			notes = append(notes, fmt.Sprintf("pin %q: no spec of the cache matches it", pin))
		}
		for _, s := range found {
			m.keep("pin "+string(pin), s.Hash)
		}
	}
	return notes
}

// markYoung marks what was written less than age ago, except.
func markYoung(m *marks, rule string, age time.Duration, now time.Time, except func(*Spec) bool) {
	if age == 0 {
		return
	}
	for _, hash := range m.scan.hashes() {
		s := m.scan.Specs[hash]
		if now.Sub(m.scan.uploaded(s)) < age && (except == nil || !except(s)) {
			m.keep(rule, hash)
		}
	}
}

// markLast marks every spec of the n newest versions of each package, except.
func markLast(m *marks, n int, except func(*Spec) bool) {
	if n == 0 {
		return
	}
	versions := map[string][]string{}
	type version struct{ name, version string }
	seen := map[version]bool{}
	for _, s := range m.scan.Specs {
		if v := (version{s.Name, s.Version}); !seen[v] {
			seen[v] = true
			versions[s.Name] = append(versions[s.Name], s.Version)
		}
	}
	for _, all := range versions {
		slices.SortFunc(all, func(a, b string) int { return compareVersions(b, a) })
	}
	for _, hash := range m.scan.hashes() {
		s := m.scan.Specs[hash]
		all := versions[s.Name]
		last := all[min(n, len(all))-1]
		if !except(s) && compareVersions(s.Version, last) >= 0 {
			m.keep(keepLast, hash)
		}
	}
}

// tooOld decides where there are no roots: what is old or stale goes, and what
// needs it at run time goes too, as it could not be installed any more. What
// stays by a rule stays with all that it needs, so that none of it is hit.
func tooOld(m *marks, policy Policy, now time.Time, stale func(*Spec) bool) map[buildcache.Hash]Going {
	s := m.scan
	going := map[buildcache.Hash]Going{}
	var queue []buildcache.Hash
	for _, hash := range s.hashes() {
		switch spec := s.Specs[hash]; {
		case m.has(hash):
			continue
		case now.Sub(s.uploaded(spec)) >= policy.MaxAge:
			going[hash] = Going{Reason: TooOld}
		case stale(spec):
			going[hash] = Going{Reason: Stale}
		default:
			continue
		}
		queue = append(queue, hash)
	}
	spread(s, going, queue, func(h buildcache.Hash) bool { return !m.has(h) })
	return going
}

// spread adds the dependents of what goes, by link and run edges; may filters
// them.
func spread(s *Scan, going map[buildcache.Hash]Going, queue []buildcache.Hash, may func(buildcache.Hash) bool) {
	dependents := s.dependents(buildcache.Runtime)
	seen := map[buildcache.Hash]bool{}
	for _, h := range queue {
		seen[h] = true
	}
	for ; len(queue) > 0; queue = queue[1:] {
		for _, d := range dependents[queue[0]] {
			if seen[d] || !may(d) {
				continue
			}
			seen[d] = true
			queue = append(queue, d)
			if _, ok := going[d]; !ok && s.Specs[d] != nil {
				going[d] = Going{Reason: Dependent, Needs: s.Nodes[queue[0]].String()}
			}
		}
	}
}

// dependents turns edges around, those of nodes that are not in the cache too.
func (s *Scan) dependents(types buildcache.DepTypes) map[buildcache.Hash][]buildcache.Hash {
	found := map[buildcache.Hash][]buildcache.Hash{}
	for hash, n := range s.Nodes {
		for _, d := range n.Dependencies {
			if d.Types&types != 0 {
				found[d.Hash] = append(found[d.Hash], hash)
			}
		}
		if n.BuildSpec != "" {
			found[n.BuildSpec] = append(found[n.BuildSpec], hash)
		}
	}
	for _, all := range found {
		slices.Sort(all)
	}
	return found
}

// fill writes down what goes, with the objects that nothing else refers to,
// and what stays.
func (p *Plan) fill(s *Scan, m *marks, going map[buildcache.Hash]Going, now time.Time) {
	used := s.usedBlobs(func(h buildcache.Hash) bool { _, ok := going[h]; return ok })
	for _, hash := range s.hashes() {
		spec := s.Specs[hash]
		g, goes := going[hash]
		var bytes int64
		for _, o := range s.objectsOf(spec) {
			if o.Kind == Blob && used[o.Key] && goes {
				continue
			}
			bytes += o.Size
			if goes {
				p.Delete = append(p.Delete, deletion(o, spec.Spec, g.Reason, now))
			}
		}
		if !goes {
			rule, chain := keepYoung, []string{spec.String()}
			if m.has(hash) {
				rule, chain = m.chain(hash)
			}
			p.Keep = append(p.Keep, Kept{hash, spec.Name, rule, chain, bytes})
			continue
		}
		g.Hash, g.Name, g.Version, g.Uploaded, g.Bytes = hash, spec.Name, spec.Version, s.uploaded(spec), bytes
		p.Going = append(p.Going, g)
	}
}

// usedBlobs returns the keys of the blobs that manifests name, those of specs
// that go aside.
func (s *Scan) usedBlobs(goes func(buildcache.Hash) bool) map[string]bool {
	used := map[string]bool{}
	for manifest, blobs := range s.blobs {
		if hash, ok := buildcache.KeyHash(manifest); ok && s.Objects[manifest].Kind == Manifest && goes(hash) {
			continue
		}
		for _, b := range blobs {
			used[b.Key()] = true
		}
	}
	return used
}

func deletion(o *Object, spec *buildcache.Spec, reason string, now time.Time) Deletion {
	d := Deletion{Key: o.Key, Size: o.Size, ETag: o.ETag, ModTime: o.ModTime, Kind: o.Kind, Reason: reason,
		Age: now.Sub(o.ModTime).Round(time.Minute).String()}
	if spec != nil {
		d.Spec, d.Hash = spec.String(), spec.Hash
	}
	return d
}

// orphans adds tarballs without a spec file and blobs that no manifest names,
// once they are old enough to belong to no push. The tarball of a spec that must
// stay does so, even if its spec file was lost.
func (p *Plan) orphans(s *Scan, m *marks, grace time.Duration, now time.Time) {
	used := s.usedBlobs(func(buildcache.Hash) bool { return false })
	replaced := s.replaced()
	for _, key := range s.keys(Tarball, Blob) {
		o := s.Objects[key]
		written := o.ModTime
		switch {
		case o.Kind == Blob && used[key], o.Kind == Tarball && (s.owned(o) || m.has(hashOf(key))):
			continue
		case replaced[key].After(written):
			written = replaced[key] // an index of ours until then
		}
		if now.Sub(written) >= grace {
			p.Delete = append(p.Delete, deletion(o, nil, Orphan, now))
		}
	}
	// A note that is older than grace has done its work, with its blob.
	for blob, at := range replaced {
		if note := s.Objects[replacedPrefix+checksumOf(blob)]; now.Sub(at) >= grace {
			p.Delete = append(p.Delete, deletion(note, nil, Orphan, now))
		}
	}
}

// owned says whether a tarball is that of a spec with a spec file.
func (s *Scan) owned(o *Object) bool {
	hash, _ := buildcache.KeyHash(o.Key)
	spec := s.Specs[hash]
	return spec != nil && slices.Contains(spec.Objects, o)
}

func hashOf(key string) buildcache.Hash {
	hash, _ := buildcache.KeyHash(key)
	return hash
}

// finish sorts and counts.
func (p *Plan) finish(s *Scan) {
	// Two manifests can share a blob, and both go.
	slices.SortStableFunc(p.Delete, func(a, b Deletion) int { return cmp.Compare(a.Key, b.Key) })
	p.Delete = slices.CompactFunc(p.Delete, func(a, b Deletion) bool { return a.Key == b.Key })
	slices.SortFunc(p.Going, func(a, b Going) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), compareVersions(a.Version, b.Version), cmp.Compare(a.Hash, b.Hash))
	})
	for _, o := range s.Objects {
		if o.Kind.counts() {
			p.Before.Objects++
			p.Before.Bytes += o.Size
		}
	}
	p.Before.Specs = len(s.Specs)
	p.After = Totals{p.Before.Specs - len(p.Going), p.Before.Objects, p.Before.Bytes}
	for _, d := range p.Delete {
		if d.Kind.counts() {
			p.After.Objects--
			p.After.Bytes -= d.Size
		}
	}
}

func (k Kind) counts() bool { return k == SpecFile || k == Tarball || k == Manifest || k == Blob }

// brake refuses to delete too much at once.
func (p *Plan) brake() error {
	fraction := func(before, after int64) float64 { return float64(before-after) / float64(max(1, before)) }
	specs := fraction(int64(p.Before.Specs), int64(p.After.Specs))
	bytes := fraction(p.Before.Bytes, p.After.Bytes)
	if most := max(specs, bytes); most > p.Policy.MaxFraction {
		return fmt.Errorf("%w: %.0f %% of the specs and %.0f %% of the bytes would go, the limit is %.0f %%: if that is right, raise it with --max-fraction",
			ErrRefused, 100*specs, 100*bytes, 100*p.Policy.MaxFraction)
	}
	return nil
}
