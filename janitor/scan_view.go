package janitor

import (
	"encoding/binary"
	"hash/fnv"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
)

// keys yields the keys of some objects.
func (s *Scan) keys(objects []objectID) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, o := range objects {
			if !yield(s.objects.key(o)) {
				return
			}
		}
	}
}

// specs yields the specs that are in the cache: those with a spec file or a
// manifest.
func (s *Scan) specs() iter.Seq[id] { return s.present.All() }

// own returns the spec files, manifests and tarballs of a spec. A tarball alone
// makes no spec, and belongs to none.
func (s *Scan) own(at id) []objectID {
	all := s.bySpec.of(at)
	file := slices.ContainsFunc(all, func(o objectID) bool { return s.objects.at(o).kind == SpecFile })
	drop := func(o objectID) bool { return !file && s.objects.at(o).kind == Tarball }
	if !slices.ContainsFunc(all, drop) {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), drop)
}

// owned reports whether a tarball is that of a spec with a spec file.
func (s *Scan) owned(o objectID) bool { return slices.Contains(s.own(s.objects.at(o).of-1), o) }

// hasKind reports whether a spec has an object of a kind.
func (s *Scan) hasKind(at id, kind Kind) bool {
	return slices.ContainsFunc(s.own(at), func(o objectID) bool { return s.objects.at(o).kind == kind })
}

// hasLayout reports whether a spec has a spec file or manifest in a layout.
func (s *Scan) hasLayout(at id, layout int) bool {
	if layout == 2 {
		return s.hasKind(at, SpecFile)
	}
	return s.hasKind(at, Manifest)
}

// all returns a spec's objects, with the blobs that its manifests name.
func (s *Scan) all(at id) []objectID {
	own := s.own(at)
	all := own[:len(own):len(own)]
	for _, o := range own {
		for _, b := range s.blobsNamed(o) {
			if object := s.blobs[b].object; object != 0 && !slices.Contains(all, object-1) {
				all = append(all, object-1)
			}
		}
	}
	return all
}

// uploaded returns when the youngest of a spec's objects was written.
func (s *Scan) uploaded(at id) time.Time {
	var youngest *object
	for _, i := range s.all(at) {
		if o := s.objects.at(i); youngest == nil || o.written > youngest.written {
			youngest = o
		}
	}
	return youngest.time()
}

// of returns the objects of some kinds, in the order of their keys.
func (s *Scan) of(kinds ...Kind) iter.Seq[objectID] {
	return func(yield func(objectID) bool) {
		for i := range objectID(s.objects.len()) {
			if slices.Contains(kinds, s.objects.at(i).kind) && !yield(i) {
				return
			}
		}
	}
}

// An Object is one of the mirror, sorted.
type Object struct {
	buildcache.Object
	Kind Kind
}

// Object looks an object up.
func (s *Scan) Object(key string) (Object, bool) {
	i, ok := s.objects.find(key)
	if !ok {
		return Object{}, false
	}
	return Object{s.objects.get(i), s.objects.at(i).kind}, true
}

// A Spec is one that is in the cache: it has a spec file or a manifest.
type Spec struct {
	Hash          buildcache.Hash
	Name, Version string
	Indexed       bool     // an index has it as cached
	Objects       []Object // its spec files, manifests, tarballs and blobs
}

// Specs yields the specs that are in the cache.
func (s *Scan) Specs() iter.Seq[Spec] {
	return func(yield func(Spec) bool) {
		for at := range s.specs() {
			spec := Spec{Hash: s.dag.hash(at), Name: s.dag.name(at), Version: s.dag.version(at), Indexed: s.indexed(at)}
			for _, o := range s.all(at) {
				spec.Objects = append(spec.Objects, Object{s.objects.get(o), s.objects.at(o).kind})
			}
			if !yield(spec) {
				return
			}
		}
	}
}

func (s *Scan) indexed(at id) bool {
	return slices.ContainsFunc(s.indexes, func(x *cacheIndex) bool { return x.cached.Has(at) })
}

// usedBlobs returns the blobs that manifests name which do not go.
func (s *Scan) usedBlobs(goes func(manifest objectID) bool) index.Bits {
	used := index.NewBits(len(s.blobs))
	for i, manifest := range s.manifests {
		if goes(manifest) {
			continue
		}
		for _, b := range s.blobsOf.of(uint32(i)) {
			used.Set(b)
		}
	}
	return used
}

// digest is the state of a spec's objects: ETags and sizes.
func (s *Scan) digest(at id) uint64 {
	h := fnv.New64a()
	var b []byte
	for _, o := range s.all(at) {
		b = s.stampOrTime(b[:0], o)
		_, _ = h.Write(b)
	}
	return h.Sum64()
}

func (s *Scan) digestOf(o objectID) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(s.stampOrTime(nil, o))
	return h.Sum64()
}

// stampOrTime is what tells the content of an object from another one's.
func (s *Scan) stampOrTime(to []byte, o objectID) []byte {
	x := s.objects.at(o)
	n := len(to)
	if to = s.objects.stamp(append(to, byte(x.kind)), o); len(to) == n+1 {
		to = binary.AppendVarint(binary.AppendVarint(to, x.size), x.written)
	}
	return to
}

// Names returns the names of the packages in the cache.
func (s *Scan) Names() []string {
	names := map[string]bool{}
	for at := range s.specs() {
		names[s.dag.name(at)] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// same reports whether the spec files and manifests of a spec are those of an
// earlier scan.
func (s *Scan) same(first *Scan, at id) bool {
	a, b := s.described(at), first.described(at)
	return slices.EqualFunc(a, b, func(x, y objectID) bool {
		p, q := s.objects.get(x), first.objects.get(y)
		return p == q
	})
}

// described returns the spec files and manifests of a spec.
func (s *Scan) described(at id) (all []objectID) {
	for _, o := range s.bySpec.of(at) {
		if s.objects.at(o).kind != Tarball {
			all = append(all, o)
		}
	}
	return all
}

// hasFile reports whether a spec has a spec file of layout v2.
func (s *Scan) hasFile(at id) bool {
	return slices.ContainsFunc(s.bySpec.of(at), func(o objectID) bool { return s.objects.at(o).kind == SpecFile })
}

// cachedBy reports whether an index object has a spec as cached.
func (s *Scan) cachedBy(key string, at id) bool {
	return slices.ContainsFunc(s.indexes, func(x *cacheIndex) bool { return x.object.Key == key && x.cached.Has(at) })
}

// indexesWith returns the keys of the indexes that have a spec as cached.
func (s *Scan) indexesWith(at id) (keys []string) {
	for _, x := range s.indexes {
		if x.cached.Has(at) && !slices.Contains(keys, x.object.Key) {
			keys = append(keys, x.object.Key)
		}
	}
	return keys
}

// file returns the spec file that readers of a layout take, or the manifest.
func (s *Scan) file(at id, layout int) (objectID, bool) {
	kind := Manifest
	if layout == 2 {
		kind = SpecFile
	}
	for _, o := range slices.Backward(s.own(at)) { // .spec.json.sig before .spec.json
		if s.objects.at(o).kind == kind {
			return o, true
		}
	}
	return 0, false
}
