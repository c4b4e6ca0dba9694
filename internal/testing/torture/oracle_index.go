package torture

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// beforePut judges what the janitor is about to write.
func (o *oracle) beforePut(a *Actor, key string, obj *object) {
	r := a.Run
	if r == nil {
		o.pushed(a, key, obj)
		return
	}
	if r.Dry {
		o.fail("dry run", "it wrote %s", key)
	}
	k, _ := sortKey(key)
	if k == ownObject {
		return
	}
	o.alone(r, key)
	if o.first(r) && r.Kind == "prune" {
		o.fail("first run", "it wrote %s", key)
	}
	if k != indexText && k != blobObject && !strings.HasPrefix(key, "v3/manifests/index/") {
		o.fail("foreign", "%s is none of its business, and was written", key)
	}
}

// indexWritten takes note of what an index names now, and judges it if the janitor has written it.
func (o *oracle) indexWritten(a *Actor, key string) {
	if key != indexV2 && !strings.Contains(key, "/index/") {
		return
	}
	before, after := o.indexes[key], o.named(key)
	if a.Run == nil {
		o.spacks[key] = maps.Clone(after)
	} else if after == nil {
		o.fail("index", "%s was written such that it cannot be read", key)
	} else {
		o.judgeIndex(a.Run, key, before, after)
	}
	for hash := range before {
		if !after[hash] {
			o.left[key+hash] = departure{time.Now(), a.Run}
		}
	}
	for hash := range after {
		delete(o.left, key+hash)
	}
	o.indexes[key] = after
}

func (o *oracle) judgeIndex(r *Run, key string, before, after map[string]bool) {
	// A store that is in one listing makes entries leave or come until the next look: what stays
	// wrong is for final.
	if r.actor.Faults.Lie > 0 {
		return
	}
	for _, hash := range slices.Sorted(maps.Keys(after)) {
		gone, ours := o.deleted[hash]
		if ours && !o.inLayout(hash, key) && gone.at.Before(r.begun) {
			o.fail("index", "%s was written and names %s, which %s has deleted", key, hash, gone.run.actor.Name)
		} else if !before[hash] && !o.inLayout(hash, key) {
			o.fail("index", "%s was written and names %s, which is not there", key, hash)
		}
	}
	if o.w.Conditions == "ignored" || r.Kind == "purge" {
		return
	}
	for _, hash := range slices.Sorted(maps.Keys(before)) {
		if after[hash] || !o.inLayout(hash, key) {
			continue
		}
		if o.there(hash).After(r.looked(o.anyKey(hash))) {
			o.window("pushed after the look that took it out of the index", time.Since(o.there(hash))) // the next one puts it back: see finalIndexes
		} else if r.Kind == "reindex" && !o.whole(r, hash, key) {
			delete(o.spacks[key], hash) // it could not be installed; if it is whole again, Spack has to name it again
		} else if by := o.needed(r, hash); by != "" {
			o.fail("index", "%s lost the entry of %s, which %s needs", key, hash, by)
		} else if r.Kind != "prune" || !o.waited(r, hash, o.lastWritten(r, hash), false) {
			o.fail("index", "%s lost the entry of %s, which is there and cannot have been condemned for %v", key, hash, wait)
		}
	}
}

// there returns when a spec file or manifest of a spec was last written.
func (o *oracle) there(hash string) (last time.Time) {
	for key, obj := range o.byHash[hash] {
		if k, _ := sortKey(key); k != tarball && obj.written.After(last) {
			last = obj.written
		}
	}
	return last
}

// inLayout reports whether the layout of an index holds a spec.
func (o *oracle) inLayout(hash, index string) bool {
	for key := range o.byHash[hash] {
		if k, _ := sortKey(key); k == specFile && index == indexV2 || k == specManifest && index != indexV2 {
			return true
		}
	}
	return false
}

// whole reports whether all objects of a spec that the layout of an index has were there before a run
// looked.
func (o *oracle) whole(r *Run, hash, index string) bool {
	for key, obj := range o.byHash[hash] {
		switch k, _ := sortKey(key); {
		case k == tarball && index == indexV2:
			return obj.there.Before(r.looked(key))
		case k == specManifest && index != indexV2:
			for _, b := range read(obj, "manifest").manifest.named() {
				if blob := o.w.bucket.objects[b]; blob == nil || !blob.there.Before(r.looked(b)) {
					return false
				}
			}
			return true
		}
	}
	return false
}

// pushed measures the windows of those who push: what they found in the cache and relied on, and
// was deleted before what relies on it arrived.
func (o *oracle) pushed(a *Actor, key string, obj *object) {
	var s *rawSpec
	switch k, _ := sortKey(key); {
	case k == specFile:
		s = read(obj, "spec").spec
	case k == specManifest:
		if m := read(obj, "manifest").manifest; m != nil && o.w.bucket.objects[m.spec] != nil {
			s = read(o.w.bucket.objects[m.spec], "specblob").spec
		}
	}
	if s == nil || a.tested.IsZero() {
		return
	}
	for need := range s.needs {
		if gone, ours := o.deleted[need]; ours && !o.present(need) && gone.at.After(a.tested) {
			o.window([]string{"hole by a plain push", "hole by an announced push"}[btoi(a.announced)], gone.at.Sub(a.tested))
		}
	}
}

// pushEnded measures what a push has found in the cache and relied on, and was deleted before it
// ended.
func (w *World) pushEnded(a *Actor, env Env) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for hash := range hashes(closure(env, false)) {
		if gone, ours := w.oracle.deleted[hash]; ours && !w.oracle.present(hash) && gone.at.After(a.tested) {
			w.oracle.window([]string{"relied on by a plain push", "relied on by an announced push"}[btoi(a.announced)], gone.at.Sub(a.tested))
		}
	}
}

// ended judges a command that has come to its end.
func (o *oracle) ended(r *Run) {
	if r.actor.dead || r.Dry {
		return
	}
	for key, refused := range r.actor.refused {
		if r.err == nil && refused && o.w.bucket.objects[key] != nil {
			o.fail("status", "%s succeeded though the store refused to delete %s", r.Kind, key)
		}
	}
	if r.err != nil || r.outside.IsZero() {
		return
	}
	for _, hash := range slices.Sorted(maps.Keys(o.byHash)) {
		s, since := o.spec(hash)
		if s == nil {
			continue
		}
		for need := range s.needs {
			if gone, ours := o.deleted[need]; ours && gone.run == r && !o.present(need) && since.Before(r.looked(o.anyKey(hash))) {
				o.fail("end check", "%s succeeded though %s lacks %s, which it has deleted", r.Kind, hash, need)
			}
		}
	}
}
