package torture

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// final judges the bucket when all is quiet: the weather was good for longer than three waits,
// every repository has pruned every week, and nobody else has written.
func (o *oracle) final(roots []*Spec) {
	ruled := o.ruled(0)
	for _, s := range o.w.Graph.Specs {
		if o.w.keeps(s.Hash) || ruled[s.Hash] {
			roots = append(roots, s)
		}
	}
	may := hashes(closure(roots, !o.w.DropBuild))
	for _, sets := range o.sets {
		if set := sets[len(sets)-1]; set.until.IsZero() && o.w.storeTime().Before(set.force) {
			maps.Copy(may, set.hashes)
		}
	}
	o.close(may)
	o.garbage(may)
	o.finalIndexes()
}

// garbage is what stays though it may go. Where the clocks of two machines are far apart, each
// takes the other's run for a jump, and nothing is deleted.
func (o *oracle) garbage(may map[string]bool) {
	if o.w.Repos > 1 && o.w.Clock.Abs() >= time.Hour {
		return
	}
	now := o.w.storeTime() // or ours: neither clock makes what is young old
	if ours := time.Now(); ours.Before(now) {
		now = ours
	}
	bySpec := map[string]*Spec{}
	for _, s := range o.w.Graph.Specs {
		bySpec[s.Hash] = s
	}
	for _, hash := range slices.Sorted(maps.Keys(o.byHash)) {
		if o.present(hash) && !may[hash] && bySpec[hash] != nil && !o.w.keeps(hash) {
			o.fail("garbage", "%s %s is needed by nothing and stays", bySpec[hash].Name, hash)
		}
	}
	for _, key := range o.w.bucket.keys {
		obj := o.w.bucket.objects[key]
		if min(now.Sub(obj.mod), time.Since(o.loose[key])) < grace+3*wait {
			continue
		}
		k, hash := sortKey(key)
		if k == blobObject && o.refs[key] == nil && !o.w.unnamed || k == tarball && !o.present(hash) && !may[hash] && !o.w.keeps(hash) {
			o.fail("garbage", "%s belongs to nothing and stays", key)
		}
	}
}

func (o *oracle) finalIndexes() {
	for _, key := range slices.Sorted(maps.Keys(o.spacks)) {
		named := o.named(key)
		if named == nil {
			o.fail("index", "%s cannot be read any more", key)
			continue
		}
		for _, hash := range slices.Sorted(maps.Keys(named)) {
			if _, ours := o.deleted[hash]; ours && !o.inLayout(hash, key) {
				o.fail("index", "%s names %s, which we have deleted", key, hash)
			}
		}
		for _, hash := range slices.Sorted(maps.Keys(o.spacks[key])) {
			if !named[hash] && o.inLayout(hash, key) && o.w.Conditions == "" {
				o.fail("index", "%s has lost %s, which is there", key, hash)
			}
		}
	}
	if text, sum := o.w.bucket.objects[indexV2], o.w.bucket.objects[indexV2Hash]; text != nil {
		if sum == nil || strings.TrimSpace(string(sum.body)) != digest(text.body) {
			o.fail("index", "%s is not the checksum of %s", indexV2Hash, indexV2)
		}
	}
}

// keeps reports whether the world has put something beside a spec that nobody understands, and that
// keeps it.
func (w *World) keeps(hash string) bool { return w.unknown[hash] }
