package torture

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// state computes what is live for a run: what its lockfiles, the root sets in force and what is young need to run; and
// what nothing refers to.
func (o *oracle) state(r *Run) state {
	now := o.w.storeTime()
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
	for hash := range o.byHash {
		for _, obj := range o.objects(hash, false) {
			if now.Sub(obj.mod) < max(grace, o.w.MaxAge) {
				s.live[hash] = true
			}
		}
	}
	o.close(s.live)
	return s
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

// waited reports whether what is named by a hash or a key can have been condemned for the wait: there was a run so long
// ago, nothing of it was written since, and no run that succeeded saw it live all the time.
func (o *oracle) waited(name string, written time.Time, orphan bool) bool {
	now := time.Now()
	for i, r := range o.runs {
		if r.Kind != "prune" || r.Dry || now.Sub(r.begun) < wait-time.Hour-time.Minute || r.ended.IsZero() || written.After(r.ended) {
			continue
		}
		if !slices.ContainsFunc(o.runs[i:], func(later *Run) bool {
			saved := later.before.live[name] && later.after.live[name]
			if orphan {
				saved = !later.before.orphans[name] && !later.after.orphans[name]
			}
			return saved && later.Kind == "prune" && !later.Dry && later.err == nil && !later.ended.IsZero()
		}) {
			return true
		}
	}
	return false
}

// needed returns the first of the run's roots that needs a hash and was there when the run last looked at roots.
func (o *oracle) needed(r *Run, hash string) (by string) {
	if r.Roots[hash] {
		return "a lockfile of its command line"
	}
	now := o.w.storeTime()
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
