package torture

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// state computes what is live for a run, and will be for some time by the same reason: what its
// lockfiles, the root sets in force and what is young need to run; and what nothing refers to.
func (o *oracle) state(r *Run, lasts time.Duration) state {
	now := o.w.storeTime().Add(lasts)
	s := state{live: maps.Clone(r.Roots), orphans: map[string]bool{}}
	if s.live == nil {
		s.live = map[string]bool{}
	}
	for _, sets := range o.sets {
		if set := sets[len(sets)-1]; set.until.IsZero() && now.Before(set.force) {
			maps.Copy(s.live, set.hashes)
		}
	}
	for key, obj := range o.w.bucket.objects {
		switch k, hash := sortKey(key); {
		case k == blobObject && o.refs[key] == nil:
			s.orphans[key] = true
			if spec := read(obj, "specblob").spec; spec != nil && now.Sub(obj.mod) < grace {
				s.live[spec.hash] = true
				maps.Copy(s.live, spec.needs)
			}
		case k == tarball && !o.hasSpecFile(hash):
			s.orphans[key] = true
			if now.Sub(obj.mod) < grace {
				s.live[hash] = true
			}
		}
	}
	young := max(grace, o.w.MaxAge)
	if o.w.NoRoots {
		young = grace // what is older than that stays as long as what it needs
	}
	for hash := range o.byHash {
		for _, obj := range o.objects(hash, false) {
			if now.Sub(obj.mod) < young {
				s.live[hash] = true
			}
		}
	}
	maps.Copy(s.live, o.ruled(lasts))
	o.close(s.live)
	return s
}

// ruled returns what rules keep for some time: what was fetched lately, and the newest versions.
func (o *oracle) ruled(lasts time.Duration) map[string]bool {
	kept := map[string]bool{}
	versions := map[string][]*Spec{}
	for _, s := range o.w.Graph.Specs {
		if !o.present(s.Hash) {
			continue
		}
		versions[s.Name] = append(versions[s.Name], s)
		if at, ok := o.w.fetched[s.Hash]; ok && max(time.Since(at), o.w.storeTime().Sub(at))+lasts < o.w.Used {
			kept[s.Hash] = true
		}
	}
	for _, all := range versions {
		slices.SortFunc(all, func(a, b *Spec) int { return -compareVersions(a.Version, b.Version) })
		for i, n := 0, 0; i < len(all); i++ {
			if n += btoi(i == 0 || all[i].Version != all[i-1].Version); n <= o.w.KeepLast {
				kept[all[i].Hash] = true
			}
		}
	}
	return kept
}

// compareVersions knows the versions of our graphs alone: 3.1, 2.7-rc1, which is older than 2.7,
// and develop-5.
func compareVersions(a, b string) int {
	parse := func(v string) (p [3]int) {
		if _, err := fmt.Sscanf(v, "develop-%d", &p[1]); err == nil {
			p[0] = 1 << 30
			return p
		}
		if _, err := fmt.Sscanf(v, "%d.%d-rc1", &p[0], &p[1]); err != nil {
			p[2] = 1
		}
		return p
	}
	x, y := parse(a), parse(b)
	return slices.Compare(x[:], y[:])
}

// close adds what the specs of a set that are present need to run.
func (o *oracle) close(live map[string]bool) {
	todo := slices.Collect(maps.Keys(live))
	for len(todo) > 0 {
		hash := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if s, _ := o.spec(hash); s != nil {
			for need := range s.needs {
				if !live[need] {
					live[need] = true
					todo = append(todo, need)
				}
			}
		}
	}
}

func (o *oracle) hasSpecFile(hash string) bool {
	for key := range o.byHash[hash] {
		if k, _ := sortKey(key); k == specFile {
			return true
		}
	}
	return false
}

// waited reports whether what is named by a hash or a key can have been condemned for the wait:
// there was a run so long ago, nothing of it was written since, and no run that succeeded saw it
// live all the time.
func (o *oracle) waited(by *Run, name string, written time.Time, orphan bool) bool {
	if o.purged(by, name) {
		return true
	}
	now := time.Now()
	for i, r := range o.runs {
		if r.Kind != "prune" || r.Dry || r.mirror != by.mirror || now.Sub(r.begun) < wait-time.Hour-time.Minute || r.ended.IsZero() || written.After(r.ended) {
			continue
		}
		if !slices.ContainsFunc(o.runs[i:], func(later *Run) bool {
			if later.ended.Before(r.ended) || !by.ended.IsZero() && later.begun.After(by.ended) {
				return false // it may have been over before the other one has looked, or has begun after it was handed over
			}
			saved := later.before.live[name] && later.after.live[name]
			if orphan {
				saved = !later.before.orphans[name] && !later.after.orphans[name]
			}
			return saved && later.Kind == "prune" && !later.Dry && !later.Condemns && later.mirror == by.mirror && later.err == nil && !later.ended.IsZero()
		}) {
			return true
		}
	}
	return false
}

// purged reports whether a purge that did not come to its end names a spec that is there since
// before it: a person has asked for it, and a later run may end what was begun.
func (o *oracle) purged(by *Run, hash string) bool {
	_, since := o.spec(hash)
	return slices.ContainsFunc(o.runs, func(r *Run) bool {
		return r.Purges[hash] && r.mirror == by.mirror && since.Before(r.begun) && (r.ended.IsZero() || r.err != nil)
	})
}

// needed returns the first of the run's roots that needs a hash and was there when the run last
// looked at roots.
func (o *oracle) needed(r *Run, hash string) (by string) {
	if r.Roots[hash] {
		return "a lockfile of its command line"
	}
	now := o.w.storeTime()
	if r.left.After(now) { // it has handed over, and the store's clock was set back since: what had ended is none of its roots
		now = r.left
	}
	for _, key := range slices.Sorted(maps.Keys(o.sets)) {
		seen := r.looked(key)
		for _, set := range o.sets[key] {
			if set.hashes[hash] && set.from.Before(seen) && (set.until.IsZero() || set.until.After(seen)) && now.Before(set.force) {
				return strings.TrimPrefix(key, ownPrefix)
			}
		}
	}
	return ""
}

// neededLately returns the first root set that needs a hash and came after the run's last look.
func (o *oracle) neededLately(r *Run, hash string) (key string, from time.Time) {
	for key, sets := range o.sets {
		if set := sets[len(sets)-1]; set.hashes[hash] && set.until.IsZero() && !set.from.Before(r.looked(key)) {
			return key, set.from
		}
	}
	return "", time.Time{}
}
