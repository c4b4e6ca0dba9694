package torture

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A Broken is a promise that was not kept.
type Broken struct {
	At      string
	Promise string // in a word or two: shrinking goes by it
	What    string
}

// The oracle watches the bucket. It knows raw objects, who wrote them, and what the janitor was
// told; nothing of what the janitor thinks. Its methods are called under the world's lock.
type oracle struct {
	w         *World
	byHash    map[string]map[string]*object // spec files, tarballs and manifests, by the hash in their keys
	manifests map[string]*object            // all of them, by key
	refs      map[string]map[string]bool    // which manifests name a blob
	loose     map[string]time.Time          // since when none does that did
	indexes   map[string]map[string]bool    // what each index names as cached, by its key
	left      map[string]departure          // since when an index does not name a hash that it named: key + hash
	spacks    map[string]map[string]bool    // what Spack has last written into an index
	sets      map[string][]rootSet          // by key, the last one is there unless it ended
	deleted   map[string]departure          // hashes and keys that the janitor deleted
	rest      map[string]bool               // blobs of manifests that the janitor deleted
	runs      []*Run
	condemned map[string]*Run // by address: the run, or purge, that was the first to write what is condemned
	raised    bool            // the brake was, once
	broken    []Broken
	windows   map[string][]time.Duration
}

// A departure is when something went, and by which run.
type departure struct {
	at  time.Time
	run *Run // nil: not the janitor
}

// A rootSet is what an object below roots/ has said for a while.
type rootSet struct {
	hashes      map[string]bool
	from, until time.Time // in truth: it was there
	force       time.Time // by the store's clock: it is in force until then
}

func newOracle(w *World) oracle {
	return oracle{w: w, byHash: map[string]map[string]*object{}, manifests: map[string]*object{}, refs: map[string]map[string]bool{}, loose: map[string]time.Time{}, indexes: map[string]map[string]bool{},
		left: map[string]departure{}, spacks: map[string]map[string]bool{}, sets: map[string][]rootSet{}, deleted: map[string]departure{},
		rest: map[string]bool{}, condemned: map[string]*Run{}, windows: map[string][]time.Duration{}}
}

func (o *oracle) fail(promise, format string, args ...any) {
	b := Broken{o.w.clock(), promise, fmt.Sprintf(format, args...)}
	o.broken = append(o.broken, b)
	if o.w.Log != nil {
		fmt.Fprintf(o.w.Log, "BROKEN  %s: %s\n", b.Promise, b.What)
	}
}

// window counts what the design does not promise: how long before the deletion the other program
// had looked, or after the last look it had written.
func (o *oracle) window(name string, d time.Duration) {
	o.windows[name] = append(o.windows[name], d)
	if o.w.Log != nil {
		fmt.Fprintf(o.w.Log, "WINDOW  %s: %v\n", name, d)
	}
}

// afterPut takes note of what is there now.
func (o *oracle) afterPut(a *Actor, key string, obj *object) {
	switch k, hash := sortKey(key); {
	case k == specFile || k == tarball || k == specManifest:
		if o.byHash[hash] == nil {
			o.byHash[hash] = map[string]*object{}
		}
		o.byHash[hash][key] = obj
		if k == specManifest {
			o.refer(key, obj)
		}
	case k == otherManifest:
		o.refer(key, obj)
		o.indexWritten(a, key)
	case key == indexV2:
		o.indexWritten(a, key)
	case strings.HasPrefix(key, ownPrefix+"roots/"):
		o.setWritten(a, key, obj)
	case key == ownPrefix+"janitor/room" && a.Run != nil && o.condemned[a.Run.mirror] == nil:
		o.condemned[a.Run.mirror] = a.Run
	}
	delete(o.deleted, key)
	delete(o.rest, key)
}

func (o *oracle) afterRemove(a *Actor, key string) {
	k, hash := sortKey(key)
	if hash != "" {
		delete(o.byHash[hash], key)
	}
	if m := o.manifests[key]; m != nil && a.Run != nil {
		for _, b := range read(m, "manifest").manifest.named() {
			o.rest[b] = true
		}
	}
	if k == specFile && a.Run != nil { // the other layout may have the spec still, or again
		for other := range o.byHash[hash] {
			o.rest[other] = true
		}
	}
	o.refer(key, nil)
	if k == specFile || k == specManifest {
		for index, named := range o.spacks {
			if !o.inLayout(hash, index) { // if it comes again, Spack has to name it again
				delete(named, hash)
			}
		}
	}
	if a.Run != nil {
		o.deleted[key] = departure{time.Now(), a.Run}
		if hash != "" && k != tarball && !o.present(hash) {
			o.deleted[hash] = departure{time.Now(), a.Run}
		}
	}
	if sets := o.sets[key]; len(sets) > 0 {
		sets[len(sets)-1].until = time.Now()
	}
}

// present reports whether a spec file or a manifest of the hash is there.
func (o *oracle) present(hash string) bool {
	for key := range o.byHash[hash] {
		if k, _ := sortKey(key); k != tarball {
			return true
		}
	}
	return false
}

// specs counts those that are present.
func (o *oracle) specs() (n int) {
	for hash := range o.byHash {
		n += btoi(o.present(hash))
	}
	return n
}

// spec returns what the bucket says of a spec: by its spec file, or the blob that its manifest
// names; nil if neither can be read. since is how long it is there without a break.
func (o *oracle) spec(hash string) (s *rawSpec, since time.Time) {
	for _, key := range slices.Sorted(maps.Keys(o.byHash[hash])) {
		obj := o.byHash[hash][key]
		k, _ := sortKey(key)
		if k == tarball {
			continue
		}
		if since.IsZero() || obj.there.Before(since) {
			since = obj.there
		}
		if k == specFile && s == nil {
			s = read(obj, "spec").spec
		}
		if m := read(obj, "manifest").manifest; k == specManifest && s == nil && m != nil {
			if b := o.w.bucket.objects[m.spec]; b != nil {
				s = read(b, "specblob").spec
			}
		}
	}
	return s, since
}

// objects returns the objects of a spec: those that bear its hash, a tarball without a spec file
// aside, and the blobs that only its manifest names.
func (o *oracle) objects(hash string, shared bool) map[string]*object {
	found := maps.Clone(o.byHash[hash])
	if !o.hasSpecFile(hash) {
		maps.DeleteFunc(found, func(key string, _ *object) bool { k, _ := sortKey(key); return k == tarball })
	}
	for key, obj := range o.byHash[hash] {
		if m := read(obj, "manifest").manifest; m != nil && strings.HasPrefix(key, "v3/") {
			for _, b := range m.blobs {
				if there := o.w.bucket.objects[b]; there != nil && (shared || len(o.refs[b]) == 1) {
					found[b] = there
				}
			}
		}
	}
	return found
}

// refer takes note of which blobs a manifest names; nil is that it is gone.
func (o *oracle) refer(key string, obj *object) {
	if was := o.manifests[key]; was != nil {
		for _, b := range read(was, "manifest").manifest.named() {
			if delete(o.refs[b], key); len(o.refs[b]) == 0 {
				delete(o.refs, b)
				o.loose[b] = time.Now()
			}
		}
		delete(o.manifests, key)
	}
	if obj == nil {
		return
	}
	o.manifests[key] = obj
	for _, b := range read(obj, "manifest").manifest.named() {
		if o.refs[b] == nil {
			o.refs[b] = map[string]bool{}
		}
		o.refs[b][key] = true
	}
}

// named returns what the index at a key names as cached; nil is no index, or none that can be read.
func (o *oracle) named(key string) map[string]bool {
	obj := o.w.bucket.objects[key]
	if obj == nil {
		return nil
	}
	if key != indexV2 {
		m := read(obj, "manifest").manifest
		if m == nil || !strings.Contains(key, "/index/") {
			return nil
		}
		if obj = o.w.bucket.objects[m.spec]; obj == nil {
			return nil
		}
	}
	return read(obj, "index").index
}

func (o *oracle) setWritten(a *Actor, key string, obj *object) {
	sets := o.sets[key]
	if n := len(sets); n > 0 && sets[n-1].until.IsZero() {
		sets[n-1].until = obj.written
	}
	set, seconds := readRootSet(obj.body)
	force := time.Duration(seconds) * time.Second
	if seconds == 0 {
		force = buildSet
	}
	o.sets[key] = append(sets, rootSet{hashes: set, from: obj.written, force: obj.mod.Add(min(force, repositorySet))})
	if a.intent == nil {
		return
	}
	for hash := range a.intent() {
		if !set[hash] && (a.Run == nil || a.Run.Kind == "spare" || a.Run.Roots[hash]) {
			o.fail("root set", "%s was written without %s, which it was to hold", key, hash)
			return
		}
	}
}
