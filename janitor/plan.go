package janitor

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
)

// A Plan is what a run would do, and why: a value that can be shown, written
// down and applied. It holds on to the scan that it was made from.
type Plan struct {
	Head

	scan    *Scan
	marks   *marks     // why specs stay; nil in a plan that was read
	why     []reason   // by spec: why it goes; past the end: it does not
	needs   map[id]id  // by dependent that goes: what goes that it needs
	stay    index.Bits // specs that were decided to stay
	objects index.Bits // those that go
}

// A Head is a plan without its lists.
type Head struct {
	Run     string    `json:"run"`    // names the run, and its journal
	Mirror  string    `json:"mirror"` // for people; the store decides
	Made    time.Time `json:"made"`
	Policy  Policy    `json:"policy"`
	Refused string    `json:"refused,omitempty"` // why the plan must not be applied
	Mend    []string  `json:"mend,omitempty"`    // what is wrong with the indexes and is put right
	Damage  []Damage  `json:"damage,omitempty"`
	Notes   []string  `json:"notes,omitempty"` // what a person should know
	Before  Totals    `json:"before"`
	After   Totals    `json:"after"`
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
func (d *Deletion) same(o buildcache.Object) bool {
	return o.Size == d.Size && o.ETag == d.ETag && o.ModTime.Equal(d.ModTime)
}

// Empty says that there is nothing to do.
func (p *Plan) Empty() bool { return p.objects.Count() == 0 && len(p.Mend) == 0 }

// goes says whether a spec goes.
func (p *Plan) goes(at id) bool { return int(at) < len(p.why) && p.why[at] != 0 }

// going yields the specs that go.
func (p *Plan) going() iter.Seq[id] {
	return func(yield func(id) bool) {
		for at, why := range p.why {
			if why != 0 && !yield(id(at)) {
				return
			}
		}
	}
}

// Going yields the specs that go, by name, version and hash.
func (p *Plan) Going() iter.Seq[Going] {
	all := slices.Collect(p.going())
	d := p.scan.dag
	slices.SortFunc(all, func(a, b id) int {
		if c := cmp.Or(strings.Compare(d.name(a), d.name(b)), strings.Compare(d.version(a), d.version(b))); c != 0 {
			return c
		}
		return cmp.Compare(d.hash(a), d.hash(b))
	})
	return func(yield func(Going) bool) {
		used := p.used()
		for _, at := range all {
			g := Going{Hash: d.hash(at), Name: d.name(at), Version: d.version(at), Reason: p.why[at].String(), Bytes: p.bytes(at, used)}
			if p.scan.present.Has(at) {
				g.Uploaded = p.scan.uploaded(at)
			}
			if n, ok := p.needs[at]; ok {
				g.Needs = d.text(n)
			}
			if !yield(g) {
				return
			}
		}
	}
}

// Kept yields the specs that stay.
func (p *Plan) Kept() iter.Seq[Kept] {
	return func(yield func(Kept) bool) {
		for at := range p.stay.All() {
			k := Kept{Hash: p.scan.dag.hash(at), Name: p.scan.dag.name(at), Rule: reviewed, Chain: []string{p.scan.dag.text(at)}, Bytes: p.bytes(at, nil)}
			if p.marks != nil {
				k.Rule = keepYoung
				if p.marks.has(at) {
					k.Rule, k.Chain = p.marks.chain(at)
				}
			}
			if !yield(k) {
				return
			}
		}
	}
}

// Deletions yields the objects that go, those of specs and orphans, by key.
func (p *Plan) Deletions() iter.Seq[Deletion] {
	return func(yield func(Deletion) bool) {
		s := p.scan
		owners := make([]uint32, len(s.blobs)) // the first spec that goes and names a blob, + 1
		for at := range p.going() {
			for _, o := range s.own(at) {
				for _, b := range s.blobsNamed(o) {
					if owners[b] == 0 {
						owners[b] = at + 1
					}
				}
			}
		}
		for i, key := range s.objects.all() {
			if !p.objects.Has(i) {
				continue
			}
			o := s.objects.at(i)
			of := o.of
			if o.kind == Blob && of != 0 {
				of = owners[of-1]
			}
			d := Deletion{Key: string(key), Size: o.size, ETag: s.objects.etag(o.etag), ModTime: o.time(), Kind: o.kind,
				Age: p.Made.Sub(o.time()).Round(time.Minute).String(), Reason: orphan.String()}
			if of != 0 && p.goes(of-1) {
				d.Spec, d.Hash, d.Reason = s.dag.text(of-1), s.dag.hash(of-1), p.why[of-1].String()
			}
			if !yield(d) {
				return
			}
		}
	}
}

// NewPlan decides what goes. With an error nothing may be applied; the plan is
// then what would have been done, as far as it got.
func NewPlan(s *Scan, roots Roots, policy Policy, now time.Time) (Plan, error) {
	p := newPlan(s, policy, now)
	if err := errors.Join(roots.check(s, policy.NoRoots), policy.check(), p.current()); err != nil {
		return p.refuse(err)
	}
	m := p.mark(roots, policy.edges())
	m.keep(keepNewer, s.newer...)
	markUsed(m, policy, now)
	markYoung(m, keepGrace, policy.Grace, p.seen(), nil)
	stale := func(at id) bool { return policy.Packages != nil && !policy.Packages.Has(s.dag.name(at)) }
	markLast(m, policy.KeepLast, stale)
	if policy.NoRoots {
		p.tooOld(m, stale)
	} else {
		markYoung(m, keepYoung, policy.MaxAge, now, stale)
		for at := range s.specs() {
			if !m.has(at) && stale(at) {
				p.why[at] = staleSpec
			} else if !m.has(at) {
				p.why[at] = unneeded
			}
		}
	}
	p.fill(m)
	p.orphans(m)
	p.finish()
	if err := errors.Join(p.brake(), Prove(p, s), proveRoots(p, s, roots)); err != nil {
		return p.refuse(err)
	}
	return p, nil
}

func newPlan(s *Scan, policy Policy, now time.Time) Plan {
	p := Plan{scan: s, Head: Head{Run: now.UTC().Format("20060102T150405.000Z"), Made: now, Policy: policy, Damage: s.Damage}}
	for _, x := range s.indexes {
		if x.stale {
			p.Mend = append(p.Mend, indexHashV2+": it is not the checksum of the index")
		}
		if n := x.dangling.Count(); n > 0 {
			p.Mend = append(p.Mend, fmt.Sprintf("%s: %d of its entries have no spec file or manifest", x.object.Key, n))
		}
	}
	p.allocate()
	return p
}

// seen returns when the mirror was looked at: what an inventory does not have
// may have needed what was old then.
func (p *Plan) seen() time.Time {
	if p.scan.asOf.IsZero() {
		return p.Made
	}
	return p.scan.asOf
}

// current refuses an inventory that misses pushes which the grace period would
// have protected.
func (p *Plan) current() error {
	if age := p.Made.Sub(p.seen()); age > p.Policy.Grace {
		return fmt.Errorf("%w: the inventory is %s old, and the grace period %s: take a newer one, or wait longer with --grace", ErrRefused, age.Round(time.Minute), p.Policy.Grace)
	}
	return nil
}

// allocate makes room for all specs that are known by now.
func (p *Plan) allocate() {
	p.why = append(p.why, make([]reason, p.scan.dag.len()-len(p.why))...)
	p.needs = map[id]id{}
	p.stay = index.NewBits(p.scan.dag.len())
	p.objects = index.NewBits(p.scan.objects.len())
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

// mark marks what lockfiles and pins keep.
func (p *Plan) mark(roots Roots, types buildcache.DepTypes) *marks {
	s := p.scan
	direct, needed := make([][]id, len(roots.Locks)), make([][]id, len(roots.Locks))
	for i, l := range roots.Locks {
		direct[i], needed[i] = l.learn(s.dag, types)
	}
	p.allocate()
	m := newMarks(s, types)
	for i, l := range roots.Locks {
		m.keep("lock "+l.Name, direct[i]...)
		m.keep("lock "+l.Name, needed[i]...)
		if absent := len(s.absent(l)); absent > 0 {
			p.Notes = append(p.Notes, fmt.Sprintf("lock %s: %d of its %d specs are not in the cache", l.Name, absent, len(l.lock.Entries())))
		}
	}
	for _, pin := range roots.Pins {
		found := s.match(pin)
		if len(found) == 0 {
			p.Notes = append(p.Notes, fmt.Sprintf("pin %q: no spec of the cache matches it", pin))
		}
		for _, at := range found {
			m.keep("pin "+string(pin), at)
		}
	}
	return m
}

// markYoung marks what was written less than age ago, except.
func markYoung(m *marks, rule string, age time.Duration, now time.Time, except func(id) bool) {
	if age == 0 {
		return
	}
	for at := range m.scan.specs() {
		if now.Sub(m.scan.uploaded(at)) < age && (except == nil || !except(at)) {
			m.keep(rule, at)
		}
	}
}

// markLast marks every spec of the n newest versions of each package, except.
func markLast(m *marks, n int, except func(id) bool) {
	if n == 0 {
		return
	}
	d := m.scan.dag
	versions := map[string][]string{}
	type version struct{ name, version string }
	seen := map[version]bool{}
	for at := range m.scan.specs() {
		if v := (version{d.name(at), d.version(at)}); !seen[v] {
			seen[v] = true
			versions[v.name] = append(versions[v.name], v.version)
		}
	}
	for name, all := range versions {
		slices.SortFunc(all, func(a, b string) int { return compareVersions(b, a) })
		versions[name] = slices.Clip(all[:cut(all, n)])
	}
	for at := range m.scan.specs() {
		if !except(at) && slices.Contains(versions[d.name(at)], d.version(at)) {
			m.keep(keepLast, at)
		}
	}
}

// cut returns how many of the versions in descending order are as new as the
// n-th: 1.0 and 1.00 are the same.
func cut(all []string, n int) int {
	end := min(n, len(all))
	for end < len(all) && compareVersions(all[end], all[end-1]) == 0 {
		end++
	}
	return end
}

// tooOld decides where there are no roots: what is old or stale goes, and what
// needs it at run time goes too, as it could not be installed any more. What
// stays by a rule stays with all that it needs, so that none of it is hit.
func (p *Plan) tooOld(m *marks, stale func(id) bool) {
	var queue []id
	for at := range p.scan.specs() {
		switch {
		case m.has(at):
			continue
		case p.Made.Sub(p.scan.uploaded(at)) >= p.Policy.MaxAge:
			p.why[at] = tooOld
		case stale(at):
			p.why[at] = staleSpec
		default:
			continue
		}
		queue = append(queue, at)
	}
	p.spread(queue, func(at id) bool { return !m.has(at) })
}

// spread adds the dependents of what goes, by link and run edges; may filters
// them.
func (p *Plan) spread(queue []id, may func(id) bool) {
	dependents := p.scan.dag.turned(buildcache.Runtime | splice)
	seen := index.NewBits(p.scan.dag.len())
	for _, at := range queue {
		seen.Set(at)
	}
	for i := 0; i < len(queue); i++ {
		for _, d := range dependents.of(queue[i]) {
			if seen.Has(d) || !may(d) {
				continue
			}
			seen.Set(d)
			queue = append(queue, d)
			if p.why[d] == 0 && p.scan.present.Has(d) {
				p.why[d], p.needs[d] = dependent, queue[i]
			}
		}
	}
}

// turned returns the dependents of each spec by edges of some types, those
// that are not in the cache too.
func (d *dag) turned(types buildcache.DepTypes) lists {
	l := lists{start: make([]uint32, d.len()+1)}
	for i := range d.len() {
		for to, t := range d.edges(id(i)) {
			if t&types != 0 {
				l.start[to+1]++
			}
		}
	}
	for i := range d.len() {
		l.start[i+1] += l.start[i]
	}
	l.all = make([]uint32, l.start[d.len()])
	next := slices.Clone(l.start)
	for i := range d.len() {
		for to, t := range d.edges(id(i)) {
			if t&types != 0 {
				l.all[next[to]] = id(i)
				next[to]++
			}
		}
	}
	return l
}

// fill adds the objects of what goes that nothing else refers to, and notes
// what stays.
func (p *Plan) fill(m *marks) {
	p.marks = m
	used := p.used()
	for at := range p.scan.specs() {
		if !p.goes(at) {
			p.stay.Set(at)
			continue
		}
		for _, o := range p.scan.all(at) {
			if of := p.scan.objects.at(o); of.kind != Blob || !used.Has(of.of-1) {
				p.objects.Set(o)
			}
		}
	}
}

// used returns the blobs that manifests name, those of specs that go aside.
func (p *Plan) used() index.Bits {
	return p.scan.usedBlobs(func(manifest objectID) bool {
		of := p.scan.objects.at(manifest).of
		return of != 0 && p.goes(of-1)
	})
}

// usedBlobs returns the blobs that manifests name which do not go.
func (s *Scan) usedBlobs(goes func(manifest objectID) bool) index.Bits {
	used := index.NewBits(len(s.blobs))
	for i, manifest := range s.manifests {
		if !s.has(manifest) || goes(manifest) {
			continue
		}
		for _, b := range s.blobsOf.of(uint32(i)) {
			used.Set(b)
		}
	}
	return used
}

func (s *Scan) allUsedBlobs() index.Bits {
	return s.usedBlobs(func(objectID) bool { return false })
}

// bytes returns the size of a spec's objects, those in use aside.
func (p *Plan) bytes(at id, used index.Bits) (n int64) {
	for _, i := range p.scan.all(at) {
		if o := p.scan.objects.at(i); o.kind != Blob || !used.Has(o.of-1) {
			n += o.size
		}
	}
	return n
}

// orphans adds tarballs without a spec file and blobs that no manifest names,
// once they are old enough to belong to no push. The tarball of a spec that must
// stay does so, even if its spec file was lost.
func (p *Plan) orphans(m *marks) {
	s, grace := p.scan, p.Policy.Grace
	replaced := s.replaced()
	for i := range s.of(Tarball, Blob) {
		o := s.objects.at(i)
		if o.kind == Blob && o.of != 0 || o.kind == Tarball && (m.has(o.of-1) || s.owned(i)) {
			continue
		}
		written := o.time()
		if len(replaced) > 0 {
			if r := replaced[s.objects.key(i)]; r.at.After(written) {
				written = r.at // an index of ours until then
			}
		}
		if p.seen().Sub(written) >= grace {
			p.objects.Set(i)
		}
	}
	// A note that is older than grace has done its work, with its blob.
	for _, r := range replaced {
		if p.seen().Sub(r.at) >= grace {
			p.objects.Set(r.note)
		}
	}
}

// finish counts.
func (p *Plan) finish() {
	p.Before, p.After = Totals{}, Totals{}
	for i := range p.scan.of(SpecFile, Tarball, Manifest, Blob) {
		size := p.scan.objects.at(i).size
		p.Before.Objects++
		p.Before.Bytes += size
		if !p.objects.Has(i) {
			p.After.Objects++
			p.After.Bytes += size
		}
	}
	p.Before.Specs = p.scan.present.Count()
	p.After.Specs = p.Before.Specs
	for at := range p.going() {
		if p.scan.present.Has(at) {
			p.After.Specs--
		}
	}
}

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
