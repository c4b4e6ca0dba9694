package janitor

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/openbraininstitute/spacktainers/janitor/clock"
	"github.com/openbraininstitute/spacktainers/janitor/dag"
	"github.com/openbraininstitute/spacktainers/janitor/room"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// What follows decides what is live: what roots, pins, root sets or a rule
// keep, with all that it needs.

// live marks what is live in a look.
func (p *Plan) live(now clock.Moment) *marks {
	l, policy := p.look, p.Policy
	s, age := l.scan, now.Earlier()
	m := p.markRoots()
	m.keep(keepNewer, s.Newer...)
	m.keep(keepOdd, slices.Collect(maps.Keys(s.Odd))...)
	markPushes(m, policy.Grace, p.seen())
	if !l.partial {
		markUsed(m, policy, age)
	}
	markYoung(m, keepGrace, policy.Grace, p.seen(), nil)
	markLast(m, policy.KeepLast, p.stale)
	if !policy.NoRoots {
		markYoung(m, keepYoung, policy.MaxAge, age, p.stale)
	}
	return m
}

func (p *Plan) stale(at dag.ID) bool {
	return p.Policy.Packages != nil && !p.Policy.Packages.Has(p.look.scan.DAG.Name(at))
}

// seen returns when the mirror was looked at: what an inventory does not have
// may have needed what was old then.
func (p *Plan) seen() time.Time {
	if asOf := p.look.scan.AsOf; !asOf.IsZero() {
		return asOf
	}
	return p.now.Earlier()
}

// markRoots marks what lockfiles, pins and root sets keep.
func (p *Plan) markRoots() *marks {
	l, types := p.look, p.Policy.edges()
	s := l.scan
	direct, needed := make([][]dag.ID, len(l.roots.Locks)), make([][]dag.ID, len(l.roots.Locks))
	for i, lock := range l.roots.Locks {
		direct[i], needed[i] = learn(s.DAG, lock, types)
	}
	m := newMarks(s, types)
	for i, lock := range l.roots.Locks {
		m.keep("lock "+lock.Name, direct[i]...)
		m.keep("lock "+lock.Name, needed[i]...)
		if absent := len(s.Absent(lock)); absent > 0 {
			p.note("lock %s: %d of its %d specs are not in the cache", lock.Name, absent, len(lock.File.Entries()))
		}
	}
	for _, pin := range l.roots.Pins {
		found := match(s, pin)
		if len(found) == 0 {
			p.note("pin %q: no spec of the cache matches it", pin)
		}
		m.keep("pin "+string(pin), found...)
	}
	p.markSets(m)
	return m
}

func (p *Plan) note(format string, args ...any) {
	p.Notes = append(p.Notes, fmt.Sprintf(format, args...))
}

// markSets marks what root sets in force keep, with all that it needs.
func (p *Plan) markSets(m *marks) {
	s, now := p.look.scan, p.now.StoreTime()
	for i := range p.look.sets {
		set := &p.look.sets[i]
		if set.Problem != "" || !set.InForce(now) {
			continue
		}
		for _, o := range set.Origins {
			var ids []dag.ID
			for _, h := range o.Specs {
				if at, ok := s.DAG.Lookup(h); ok {
					ids = append(ids, at)
				}
			}
			m.keep("roots of "+set.Name+": "+o.Name, ids...)
		}
	}
}

// markPushes marks what pushes that are not complete need: a young tarball
// without a spec file keeps what its spec needs, a young spec blob without a
// manifest what it says.
func markPushes(m *marks, grace time.Duration, now time.Time) {
	s := m.scan
	for i := range s.Of(scan.Tarball) {
		o := s.Objects.At(i)
		if now.Sub(o.Time()) < grace && !s.Owned(i) {
			m.keep(keepPush, o.Of-1)
		}
	}
	for _, push := range s.Pushes {
		if now.Sub(push.At) < grace {
			m.keep(keepPush, push.Spec)
		}
	}
}

// markYoung marks what was written less than age ago, except.
func markYoung(m *marks, rule string, age time.Duration, now time.Time, except func(dag.ID) bool) {
	if age == 0 {
		return
	}
	for at := range m.scan.InCache() {
		if now.Sub(m.scan.Uploaded(at)) < age && (except == nil || !except(at)) {
			m.keep(rule, at)
		}
	}
}

// markLast marks every spec of the n newest versions of each package, except.
func markLast(m *marks, n int, except func(dag.ID) bool) {
	if n == 0 {
		return
	}
	d := m.scan.DAG
	isLast := LastVersions(n, func(yield func(name, version string) bool) {
		for at := range m.scan.InCache() {
			if !yield(d.Name(at), d.Version(at)) {
				return
			}
		}
	})
	for at := range m.scan.InCache() {
		if !except(at) && isLast(d.Name(at), d.Version(at)) {
			m.keep(keepLast, at)
		}
	}
}

// LastVersions returns what tells the n newest versions of each package from its other ones, by the
// names and versions of all specs that are there.
func LastVersions(n int, specs iter.Seq2[string, string]) func(name, version string) bool {
	versions := map[string][]string{}
	type version struct{ name, version string }
	seen := map[version]bool{}
	for name, v := range specs {
		if at := (version{name, v}); !seen[at] {
			seen[at] = true
			versions[name] = append(versions[name], v)
		}
	}
	for name, all := range versions {
		slices.SortFunc(all, func(a, b string) int { return compareVersions(b, a) })
		versions[name] = slices.Clip(all[:cut(all, n)])
	}
	return func(name, version string) bool { return slices.Contains(versions[name], version) }
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

// unneeded decides what is not live, and why.
func (p *Plan) unneeded(m *marks) {
	if p.Policy.NoRoots {
		p.tooOld(m)
		return
	}
	for at := range p.look.scan.InCache() {
		if !m.has(at) && p.stale(at) {
			p.why[at] = room.Stale
		} else if !m.has(at) {
			p.why[at] = room.Unneeded
		}
	}
}

// tooOld decides where there are no roots: what is old or stale goes, and what
// needs it at run time goes too, as it could not be installed any more. What
// stays by a rule stays with all that it needs, so that none of it is hit.
func (p *Plan) tooOld(m *marks) {
	var queue []dag.ID
	s, age := p.look.scan, p.now.Earlier()
	for at := range s.InCache() {
		switch {
		case m.has(at):
			continue
		case age.Sub(s.Uploaded(at)) >= p.Policy.MaxAge:
			p.why[at] = room.TooOld
		case p.stale(at):
			p.why[at] = room.Stale
		default:
			continue
		}
		queue = append(queue, at)
	}
	p.spread(queue, func(at dag.ID) bool { return !m.has(at) })
}
