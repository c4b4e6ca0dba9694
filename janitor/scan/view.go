package scan

import (
	"encoding/binary"
	"hash/fnv"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
	"github.com/openbraininstitute/spacktainers/janitor/dag"
	"github.com/openbraininstitute/spacktainers/janitor/listing"
)

// Keys yields the keys of some objects.
func (s *Scan) Keys(objects []listing.ID) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, o := range objects {
			if !yield(s.Objects.Key(o)) {
				return
			}
		}
	}
}

// InCache yields the specs that are in the cache: those with a spec file or a
// manifest.
func (s *Scan) InCache() iter.Seq[dag.ID] { return s.Present.All() }

// Own returns the spec files, manifests and tarballs of a spec. A tarball alone
// makes no spec, and belongs to none.
func (s *Scan) Own(at dag.ID) []listing.ID {
	all := s.bySpec.Of(at)
	file := slices.ContainsFunc(all, func(o listing.ID) bool { return s.Objects.At(o).Kind == SpecFile })
	drop := func(o listing.ID) bool { return !file && s.Objects.At(o).Kind == Tarball }
	if !slices.ContainsFunc(all, drop) {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), drop)
}

// Owned reports whether a tarball is that of a spec with a spec file.
func (s *Scan) Owned(o listing.ID) bool { return slices.Contains(s.Own(s.Objects.At(o).Of-1), o) }

// hasKind reports whether a spec has an object of a kind.
func (s *Scan) hasKind(at dag.ID, kind Kind) bool {
	return slices.ContainsFunc(s.Own(at), func(o listing.ID) bool { return s.Objects.At(o).Kind == kind })
}

// hasLayout reports whether a spec has a spec file or manifest in a layout.
func (s *Scan) hasLayout(at dag.ID, layout int) bool {
	if layout == 2 {
		return s.hasKind(at, SpecFile)
	}
	return s.hasKind(at, Manifest)
}

// All returns a spec's objects, with the blobs that its manifests name.
func (s *Scan) All(at dag.ID) []listing.ID {
	own := s.Own(at)
	all := own[:len(own):len(own)]
	for _, o := range own {
		for _, b := range s.BlobsNamed(o) {
			if object := s.Blobs[b].Object; object != 0 && !slices.Contains(all, object-1) {
				all = append(all, object-1)
			}
		}
	}
	return all
}

// Uploaded returns when the youngest of a spec's objects was written.
func (s *Scan) Uploaded(at dag.ID) time.Time {
	var youngest *listing.Object
	for _, i := range s.All(at) {
		if o := s.Objects.At(i); youngest == nil || o.Written > youngest.Written {
			youngest = o
		}
	}
	return youngest.Time()
}

// Of returns the objects of some kinds, in the order of their keys.
func (s *Scan) Of(kinds ...Kind) iter.Seq[listing.ID] {
	return func(yield func(listing.ID) bool) {
		for i := range listing.ID(s.Objects.Len()) {
			if slices.Contains(kinds, s.Objects.At(i).Kind) && !yield(i) {
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
	i, ok := s.Objects.Find(key)
	if !ok {
		return Object{}, false
	}
	return Object{s.Objects.Get(i), s.Objects.At(i).Kind}, true
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
		for at := range s.InCache() {
			spec := Spec{Hash: s.DAG.Hash(at), Name: s.DAG.Name(at), Version: s.DAG.Version(at), Indexed: s.Indexed(at)}
			for _, o := range s.All(at) {
				spec.Objects = append(spec.Objects, Object{s.Objects.Get(o), s.Objects.At(o).Kind})
			}
			if !yield(spec) {
				return
			}
		}
	}
}

// Indexed reports whether an index has a spec as cached.
func (s *Scan) Indexed(at dag.ID) bool {
	return slices.ContainsFunc(s.Indexes, func(x *Index) bool { return x.Cached.Has(at) })
}

// UsedBlobs returns the blobs that manifests name which do not go.
func (s *Scan) UsedBlobs(goes func(manifest listing.ID) bool) index.Bits {
	used := index.NewBits(len(s.Blobs))
	for i, manifest := range s.Manifests {
		if goes(manifest) {
			continue
		}
		for _, b := range s.BlobsOf.Of(uint32(i)) {
			used.Set(b)
		}
	}
	return used
}

// Digest is the state of a spec's objects: ETags and sizes.
func (s *Scan) Digest(at dag.ID) uint64 {
	h := fnv.New64a()
	var b []byte
	for _, o := range s.All(at) {
		b = s.stampOrTime(b[:0], o)
		_, _ = h.Write(b)
	}
	return h.Sum64()
}

// DigestOf is the state of one object.
func (s *Scan) DigestOf(o listing.ID) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(s.stampOrTime(nil, o))
	return h.Sum64()
}

// stampOrTime is what tells the content of an object from another one's.
func (s *Scan) stampOrTime(to []byte, o listing.ID) []byte {
	x := s.Objects.At(o)
	n := len(to)
	if to = s.Objects.Stamp(append(to, byte(x.Kind)), o); len(to) == n+1 {
		to = binary.AppendVarint(binary.AppendVarint(to, x.Size), x.Written)
	}
	return to
}

// Names returns the names of the packages in the cache.
func (s *Scan) Names() []string {
	names := map[string]bool{}
	for at := range s.InCache() {
		names[s.DAG.Name(at)] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// Same reports whether the spec files and manifests of a spec are those of an
// earlier scan.
func (s *Scan) Same(first *Scan, at dag.ID) bool {
	a, b := s.Described(at), first.Described(at)
	return slices.EqualFunc(a, b, func(x, y listing.ID) bool {
		p, q := s.Objects.Get(x), first.Objects.Get(y)
		return p == q
	})
}

// Described returns the spec files and manifests of a spec.
func (s *Scan) Described(at dag.ID) (all []listing.ID) {
	for _, o := range s.bySpec.Of(at) {
		if s.Objects.At(o).Kind != Tarball {
			all = append(all, o)
		}
	}
	return all
}

// HasFile reports whether a spec has a spec file of layout v2.
func (s *Scan) HasFile(at dag.ID) bool {
	return slices.ContainsFunc(s.bySpec.Of(at), func(o listing.ID) bool { return s.Objects.At(o).Kind == SpecFile })
}

// CachedBy reports whether an index object has a spec as cached.
func (s *Scan) CachedBy(key string, at dag.ID) bool {
	return slices.ContainsFunc(s.Indexes, func(x *Index) bool { return x.Object.Key == key && x.Cached.Has(at) })
}

// IndexesWith returns the keys of the indexes that have a spec as cached.
func (s *Scan) IndexesWith(at dag.ID) (keys []string) {
	for _, x := range s.Indexes {
		if x.Cached.Has(at) && !slices.Contains(keys, x.Object.Key) {
			keys = append(keys, x.Object.Key)
		}
	}
	return keys
}

// SpecFile returns the spec file that readers of a layout take, or the manifest.
func (s *Scan) SpecFile(at dag.ID, layout int) (listing.ID, bool) {
	kind := Manifest
	if layout == 2 {
		kind = SpecFile
	}
	for _, o := range slices.Backward(s.Own(at)) { // .spec.json.sig before .spec.json
		if s.Objects.At(o).Kind == kind {
			return o, true
		}
	}
	return 0, false
}
