package scan

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
	"github.com/openbraininstitute/spacktainers/janitor/dag"
	"github.com/openbraininstitute/spacktainers/janitor/listing"
)

// gather brings objects, specs and blobs together.
func (r *scanner) gather(context.Context) error {
	r.findBlobs()
	counts := make([]uint32, r.DAG.Len())
	var folders []string
	for i, key := range r.Objects.All() {
		o := r.Objects.At(i)
		if n := len(folders); o.Kind == Tarball && (n == 0 || !bytes.HasPrefix(key, []byte(folders[n-1]))) {
			if at := bytes.IndexByte(key[len("build_cache/"):], '/'); at >= 0 {
				folders = append(folders, string(key[:len("build_cache/")+at+1]))
			}
		}
		if o.Kind == Unknown {
			r.learnUnknown(string(key))
		}
		if o.Kind != SpecFile && o.Kind != Manifest && o.Kind != Tarball {
			continue
		}
		at := r.DAG.InternText(hashOf(key))
		o.Of = at + 1
		if int(at) >= len(counts) {
			counts = append(counts, make([]uint32, int(at)+1-len(counts))...)
		}
		counts[at]++
	}
	if !r.opts.Partial {
		r.opts.Known.folders = folders
	}
	r.bySpec = dag.Lists{Start: make([]uint32, len(counts)+1), All: make([]uint32, 0, r.Objects.Len())}
	var end uint32
	for i, n := range counts {
		r.bySpec.Start[i] = end
		end += n
	}
	r.bySpec.Start[len(counts)] = end
	r.bySpec.All = make([]uint32, end)
	next := slices.Clone(r.bySpec.Start)
	r.Present = index.NewBits(len(counts))
	for i := range listing.ID(r.Objects.Len()) {
		o := r.Objects.At(i)
		if o.Of == 0 || o.Kind == Blob {
			continue
		}
		at := o.Of - 1
		r.bySpec.All[next[at]] = i
		next[at]++
		if o.Kind != Tarball {
			r.Present.Set(at)
		}
	}
	for n, manifest := range r.Manifests {
		of := r.Objects.At(manifest).Of
		for _, b := range r.BlobsOf.Of(uint32(n)) {
			if r.Blobs[b].Form&newerBlob != 0 && of != 0 && !r.Odd[of-1] {
				r.Odd[of-1] = true
				r.Unknown = append(r.Unknown, r.Objects.Key(manifest))
			}
		}
	}
	return nil
}

// readSpecFiles reads the whole DAG of each spec that no index describes, and
// of those with a dependency that none does.
func (r *scanner) readSpecFiles(ctx context.Context) error {
	var files []listing.ID
	for at := range r.InCache() {
		whole := r.DAG.Told(at)
		for to := range r.DAG.Edges(at) {
			whole = whole && r.DAG.Told(to)
		}
		for _, o := range r.Own(at) {
			if !whole && r.Objects.At(o).Kind != Tarball {
				files = append(files, o)
			}
		}
	}
	dags := make([][]*buildcache.Spec, len(files))
	cache := &buildcache.Cache{Store: r.store}
	err := r.opts.Each(ctx, "read spec files", len(files), func(ctx context.Context, i int) (err error) {
		_, dags[i], err = cache.Spec(ctx, r.Pack(files[i]))
		if err != nil {
			return Unreadable(r.Objects.Key(files[i]), err)
		}
		return nil
	})
	for _, nodes := range dags {
		for _, n := range nodes {
			r.DAG.Add(n)
		}
	}
	return err
}

// Pack returns the package of a spec file or manifest, as far as it is known.
func (s *Scan) Pack(o listing.ID) *buildcache.Package {
	p := &buildcache.Package{Spec: &buildcache.Spec{Hash: s.DAG.Hash(s.Objects.At(o).Of - 1)}, SpecKey: s.Objects.Key(o), Layout: 2}
	if s.Objects.At(o).Kind == Manifest {
		p.Layout = 3
	}
	return p
}

// learnUnknown notes an object that could be a part of a package in a form that
// is not known here, such as the .spec.yaml of Spack before 0.18. What it is
// about stays.
func (r *scanner) learnUnknown(key string) {
	r.Unknown = append(r.Unknown, key)
	r.Unnamed = r.Unnamed || strings.HasPrefix(key, "v3/manifests/")
	if hash, ok := buildcache.UnknownHash(key); ok {
		r.Odd[r.DAG.Intern(hash)] = true
	}
}
