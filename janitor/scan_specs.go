package janitor

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
)

// gather brings objects, specs and blobs together.
func (r *scanner) gather(context.Context) error {
	r.findBlobs()
	counts := make([]uint32, r.dag.len())
	var folders []string
	for i, key := range r.objects.all() {
		o := r.objects.at(i)
		if n := len(folders); o.kind == Tarball && (n == 0 || !bytes.HasPrefix(key, []byte(folders[n-1]))) {
			if at := bytes.IndexByte(key[len("build_cache/"):], '/'); at >= 0 {
				folders = append(folders, string(key[:len("build_cache/")+at+1]))
			}
		}
		if o.kind == Unknown {
			r.learnUnknown(string(key))
		}
		if o.kind != SpecFile && o.kind != Manifest && o.kind != Tarball {
			continue
		}
		at := r.dag.internText(hashOf(key))
		o.of = at + 1
		if int(at) >= len(counts) {
			counts = append(counts, make([]uint32, int(at)+1-len(counts))...)
		}
		counts[at]++
	}
	if !r.opts.partial {
		r.opts.Known.folders = folders
	}
	r.bySpec = lists{start: make([]uint32, len(counts)+1), all: make([]uint32, 0, r.objects.len())}
	var end uint32
	for i, n := range counts {
		r.bySpec.start[i] = end
		end += n
	}
	r.bySpec.start[len(counts)] = end
	r.bySpec.all = make([]uint32, end)
	next := slices.Clone(r.bySpec.start)
	r.present = index.NewBits(len(counts))
	for i := range objectID(r.objects.len()) {
		o := r.objects.at(i)
		if o.of == 0 || o.kind == Blob {
			continue
		}
		at := o.of - 1
		r.bySpec.all[next[at]] = i
		next[at]++
		if o.kind != Tarball {
			r.present.Set(at)
		}
	}
	for n, manifest := range r.manifests {
		of := r.objects.at(manifest).of
		for _, b := range r.blobsOf.of(uint32(n)) {
			if r.blobs[b].form&newerBlob != 0 && of != 0 && !r.odd[of-1] {
				r.odd[of-1] = true
				r.unknown = append(r.unknown, r.objects.key(manifest))
			}
		}
	}
	return nil
}

// readSpecFiles reads the whole DAG of each spec that no index describes, and
// of those with a dependency that none does.
func (r *scanner) readSpecFiles(ctx context.Context) error {
	var files []objectID
	for at := range r.specs() {
		whole := r.dag.told(at)
		for to := range r.dag.edges(at) {
			whole = whole && r.dag.told(to)
		}
		for _, o := range r.own(at) {
			if !whole && r.objects.at(o).kind != Tarball {
				files = append(files, o)
			}
		}
	}
	dags := make([][]*buildcache.Spec, len(files))
	cache := &buildcache.Cache{Store: r.store}
	err := r.opts.each(ctx, "read spec files", len(files), func(ctx context.Context, i int) (err error) {
		_, dags[i], err = cache.Spec(ctx, r.pack(files[i]))
		if err != nil {
			return unreadable(r.objects.key(files[i]), err)
		}
		return nil
	})
	for _, nodes := range dags {
		for _, n := range nodes {
			r.dag.add(n)
		}
	}
	return err
}

// pack returns the package of a spec file or manifest, as far as it is known.
func (s *Scan) pack(o objectID) *buildcache.Package {
	p := &buildcache.Package{Spec: &buildcache.Spec{Hash: s.dag.hash(s.objects.at(o).of - 1)}, SpecKey: s.objects.key(o), Layout: 2}
	if s.objects.at(o).kind == Manifest {
		p.Layout = 3
	}
	return p
}

// learnUnknown notes an object that could be a part of a package in a form that
// is not known here, such as the .spec.yaml of Spack before 0.18. What it is
// about stays.
func (r *scanner) learnUnknown(key string) {
	r.unknown = append(r.unknown, key)
	r.unnamed = r.unnamed || strings.HasPrefix(key, "v3/manifests/")
	if hash, ok := buildcache.UnknownHash(key); ok {
		r.odd[r.dag.intern(hash)] = true
	}
}
