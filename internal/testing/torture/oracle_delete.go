package torture

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// beforeRemove judges a deletion. What other programs delete is theirs.
func (o *oracle) beforeRemove(a *Actor, key string, obj *object) {
	r := a.Run
	if r == nil {
		return
	}
	if r.Dry {
		o.fail("dry run", "it deleted %s", key)
	}
	k, hash := sortKey(key)
	if k == ownObject {
		return
	}
	if r.Condemns {
		o.fail("inventory", "%s was deleted by an old inventory", key)
	}
	if o.w.unknown[hash] {
		o.fail("unknown", "%s was deleted, beside which is what nobody understands", key)
	}
	if a.handed == nil {
		o.alone(r, key)
	}
	if o.first(r) && r.Kind == "prune" {
		o.fail("first run", "it deleted %s", key)
	}
	seen := r.looked(key)
	switch {
	case k == foreign || k == otherManifest || k == indexText:
		o.fail("foreign", "%s is none of its business, and was deleted", key)
		return
	case r.Kind == "reindex":
		o.fail("foreign", "reindex deleted %s", key)
	case r.Kind == "purge":
	case obj.written.After(seen):
		o.window("written after the look", obj.written.Sub(seen))
	case o.w.storeTime().Sub(obj.mod) < grace-time.Minute && o.clockSteady():
		o.fail("young", "%s was deleted %v after it was written", key, time.Since(obj.written).Round(time.Minute))
	}
	if age := time.Since(r.lastLook()); !a.inFlight && a.handed == nil && age > lookAge+2*time.Minute && r.Kind == "prune" {
		o.fail("old look", "%s was deleted when the last look was %v old", key, age.Round(time.Second))
	}
	switch k {
	case specFile, specManifest:
		o.specGoes(r, key, hash, a.handed)
	case tarball:
		o.tarballGoes(r, key, hash, obj)
	case blobObject:
		o.blobGoes(r, key, obj)
	}
}

// clockSteady reports whether the store's clock has not jumped within a grace.
func (o *oracle) clockSteady() bool {
	return o.w.Jump == 0 || time.Since(o.w.start.Add(o.w.JumpAt)) > grace || time.Since(o.w.start) < o.w.JumpAt
}

// alone judges whether another run of the janitor is at work.
func (o *oracle) alone(r *Run, key string) {
	now := time.Now()
	if r.outside.IsZero() {
		r.outside = now
	}
	if r.actor.inFlight {
		return
	}
	r.lastOutside = now
	if o.w.Conditions != "" {
		return
	}
	for _, other := range o.runs {
		if other != r && other.lastOutside.After(r.outside) {
			o.fail("two janitors", "%s wrote at %s though %s has been at work since", r.actor.Name, key, other.actor.Name)
			return
		}
	}
}

// specGoes judges the deletion of a spec file or manifest.
func (o *oracle) specGoes(r *Run, key, hash string, handed map[string]bool) {
	if by := o.needed(r, hash); by != "" {
		o.fail("root", "%s was deleted, which %s needs", key, by)
	} else if by, from := o.neededLately(r, hash); by != "" {
		o.window("announced after the look", time.Since(from))
	}
	for _, dependent := range slices.Sorted(maps.Keys(o.byHash)) {
		s, since := o.spec(dependent)
		if s == nil || dependent == hash || !s.needs[hash] || handed[dependent] { // batches know no order
			continue
		}
		if seen := r.looked(o.anyKey(dependent)); since.Before(seen) {
			o.fail("hole", "%s was deleted, which %s needs, present since %v before the last look", key, dependent, seen.Sub(since).Round(time.Second))
		} else {
			o.window("dependent pushed after the look", time.Since(since))
		}
	}
	o.pushUnderWay(r, key, hash)
	if r.Kind != "prune" {
		return
	}
	o.braked(r, hash)
	if !o.waited(r, hash, o.lastWritten(r, hash), false) {
		o.fail("wait", "%s was deleted, which cannot have been condemned for %v", key, wait)
	}
	layout := key[:strings.IndexByte(key, '/')]
	for _, index := range slices.Sorted(maps.Keys(o.indexes)) {
		if !strings.HasPrefix(index, layout) {
			continue
		}
		if o.indexes[index][hash] {
			if obj := o.w.bucket.objects[index]; obj.by != nil && obj.by.Run == nil && obj.written.After(r.begun) || handed != nil && obj.written.After(r.ended) {
				o.window("index overwritten", time.Since(obj.written))
			} else {
				o.fail("index", "%s was deleted while %s names it", key, index)
			}
		} else if d, ok := o.left[index+hash]; ok && d.run != nil && time.Since(d.at) < settle-time.Second {
			// Who deletes later, without a look, does not know that the entry had come back since, by a
			// reindex, and that another run has taken it out once more.
			if handed != nil && d.at.After(r.ended) {
				o.window("index overwritten", time.Since(d.at))
				continue
			}
			o.fail("settle", "%s was deleted %v after its entry left %s", key, time.Since(d.at).Round(time.Second), index)
		}
	}
}

// braked judges how much a run deletes: no more than an earlier one may have condemned. What a
// purge that was killed has left is not counted: a purge has no brake.
func (o *oracle) braked(r *Run, hash string) {
	if o.purged(r, hash) {
		return
	}
	r.gone[hash] = true
	most := 0
	for _, earlier := range o.runs {
		most = max(most, earlier.specs)
	}
	if r.Brake > 0 && !o.raised && float64(len(r.gone)) > r.Brake*float64(most) {
		o.fail("brake", "%s was deleted, the %d. of %d, and %.2f of all may be condemned", hash, len(r.gone), most, r.Brake)
	}
}

// unread judges that something is not there which an index of a short while ago has named.
func (o *oracle) unread(a *Actor, key, index string, seen time.Time) {
	gone, ours := o.deleted[key]
	if !ours || gone.run.Kind != "prune" || gone.at.Before(seen) {
		return
	}
	if d := o.w.bucket.at(seen).objects[index]; d == nil || d.by != nil && d.by.Run == nil && d.written.After(gone.run.begun) {
		o.window("index overwritten", time.Since(seen))
		return
	}
	o.fail("reader", "%s of %v before named %s, which %s has deleted", index, time.Since(seen).Round(time.Second), key, gone.run.actor.Name)
}

// pushUnderWay judges whether a push that has not come to its manifest yet needs a spec: its spec
// blob says so.
func (o *oracle) pushUnderWay(r *Run, key, hash string) {
	if r.Kind != "prune" || !o.clockSteady() {
		return
	}
	for _, blob := range o.w.bucket.keys {
		obj := o.w.bucket.objects[blob]
		k, _ := sortKey(blob)
		if k != blobObject || o.w.storeTime().Sub(obj.mod) >= grace-time.Minute || !obj.there.Before(r.looked(blob)) || o.refs[blob] != nil {
			continue
		}
		if s := read(obj, "specblob").spec; s != nil && (s.needs[hash] || s.hash == hash) {
			o.fail("push under way", "%s was deleted, which the young %s needs", key, blob)
		}
	}
}

// anyKey returns the key of a spec file or manifest of a spec.
func (o *oracle) anyKey(hash string) string {
	for _, key := range slices.Sorted(maps.Keys(o.byHash[hash])) {
		if k, _ := sortKey(key); k != tarball {
			return key
		}
	}
	return ""
}

// lastWritten returns when an object of a spec was last written, as far as a run can know: looks
// between two steps list no blobs, and what came behind a look is a window that is counted.
func (o *oracle) lastWritten(r *Run, hash string) (last time.Time) {
	for key, obj := range o.objects(hash, false) {
		if obj.written.After(r.looked(key)) {
			o.window("written after the look", time.Since(obj.written))
		} else if o.w.Jump < 0 && obj.written.Sub(o.w.start) > o.w.JumpAt { // by its time it is older than it is
			o.window("written under a clock that was set back", time.Since(obj.written))
		} else if obj.written.After(last) {
			last = obj.written
		}
	}
	return last
}

// tarballGoes judges the deletion of a tarball of layout v2.
func (o *oracle) tarballGoes(r *Run, key, hash string, obj *object) {
	for k, file := range o.byHash[hash] {
		if kind, _ := sortKey(k); kind == specFile {
			if file.there.Before(r.looked(k)) {
				o.fail("hole", "%s was deleted, whose spec file %s is there", key, k)
			} else {
				o.window("spec file pushed after the look", time.Since(file.there))
			}
			return
		}
	}
	o.orphanGoes(r, key, hash, obj)
}

// blobGoes judges the deletion of a blob.
func (o *oracle) blobGoes(r *Run, key string, obj *object) {
	named := slices.Sorted(maps.Keys(o.refs[key]))
	for _, k := range named {
		if m := o.manifests[k]; m.written.Before(r.looked(k)) || m.by == r.actor {
			o.fail("hole", "%s was deleted, which %s names", key, k)
		} else {
			o.window("manifest pushed after the look", time.Since(m.written))
		}
	}
	if len(named) == 0 {
		o.orphanGoes(r, key, "", obj)
	}
}

// orphanGoes judges the deletion of what nothing refers to: rest of a spec that went, or an orphan
// that has waited.
func (o *oracle) orphanGoes(r *Run, key, hash string, obj *object) {
	if r.Kind != "prune" || o.rest[key] || o.waited(r, key, obj.written, true) {
		return
	}
	if _, ours := o.deleted[hash]; ours {
		return
	}
	o.fail("wait", "%s was deleted, an orphan that cannot have been condemned for %v", key, wait)
}

// first reports whether nothing was condemned before a run. It may have begun before another one that
// was faster: what counts is whose room was there first.
func (o *oracle) first(r *Run) bool {
	by := o.condemned[r.mirror]
	return by == nil || by == r
}
