package janitor

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor/dag"
	"github.com/openbraininstitute/spacktainers/janitor/listing"
	"github.com/openbraininstitute/spacktainers/janitor/room"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// Findings are what is wrong with a cache.
type Findings struct {
	Damage   []scan.Damage `json:"damage"`             // what an index or a manifest names and is not there, or is not right
	Unlisted []string      `json:"unlisted"`           // specs that no index has
	Open     []string      `json:"open"`               // runtime dependencies that are not in the cache
	Orphans  []string      `json:"orphans"`            // tarballs and blobs that nothing refers to
	Unknown  []string      `json:"unknown,omitempty"`  // could be parts of packages, in a form that is not known here
	Stale    bool          `json:"stale"`              // v2: the index's checksum is not that of the index
	Checked  int           `json:"checked"`            // objects whose bytes were read
	Signed   []string      `json:"unsigned,omitempty"` // specs without a good signature, where keys are given
}

// Sound says that nothing is wrong. Orphans are not: the next run takes them.
func (f Findings) Sound() bool {
	return len(f.Damage) == 0 && len(f.Unlisted) == 0 && len(f.Open) == 0 && len(f.Signed) == 0 && !f.Stale
}

// Verify looks for what is wrong with a cache: what indexes and manifests name
// must be there, and what is there must be named; what a spec needs at run
// time should be in the cache.
func Verify(s *scan.Scan) Findings {
	f := Findings{Damage: slices.Clone(s.Damage)}
	for _, x := range s.Indexes {
		f.Stale = f.Stale || x.Stale
	}
	for at := range s.InCache() {
		if !s.Indexed(at) {
			f.Unlisted = append(f.Unlisted, s.DAG.Text(at))
		}
	}
	for i := range s.Of(scan.Tarball, scan.Blob) {
		if o := s.Objects.At(i); o.Kind == scan.Blob && o.Of == 0 || o.Kind == scan.Tarball && !s.Owned(i) && !s.Odd[o.Of-1] {
			f.Orphans = append(f.Orphans, s.Objects.Key(i))
		}
	}
	f.Unknown = slices.Sorted(slices.Values(s.Unknown))
	slices.Sort(f.Unlisted)
	_, f.Open = open(s, &room.Room{})
	return f
}

// Blame adds to what is open when a run has deleted what is missing.
func (f *Findings) Blame(ctx context.Context, store buildcache.Store, mirror string, s *scan.Scan) error {
	r, err := room.Read(ctx, store, mirror, s)
	if err == nil {
		_, f.Open = open(s, r)
	}
	return err
}

// open returns what present specs need at run time and is not there: what a run
// has deleted, by its tombstones, and all.
func open(s *scan.Scan, r *room.Room) (deleted, all []string) {
	for at := range s.InCache() {
		for to, types := range s.DAG.Edges(at) {
			if types&(buildcache.Runtime|dag.Splice) == 0 || s.Present.Has(to) || s.DAG.External(to) {
				continue
			}
			text := fmt.Sprintf("%s needs %s", s.DAG.Text(at), s.DAG.Text(to))
			t, ok := r.Tomb(s.DAG.Hash(to))
			if !ok && types&buildcache.Runtime == 0 {
				continue
			}
			if ok {
				when, _ := r.When(t.Run)
				text += ", which the run of " + when.Ours.UTC().Format(time.DateOnly) + " has deleted: push it again"
				deleted = append(deleted, text)
			}
			all = append(all, text)
		}
	}
	slices.Sort(deleted)
	slices.Sort(all)
	return deleted, all
}

// VerifyDeep reads every byte that a spec of the cache is made of, and checks
// signatures if keys are given.
func VerifyDeep(ctx context.Context, store buildcache.Store, s *scan.Scan, keys *buildcache.Keyring, opts scan.Options) (Findings, error) {
	f := Verify(s)
	r := &specReader{s, store, scan.Options{Parallel: max(1, opts.Parallel), Watch: opts.Watch}}
	caches := r.caches(keys)
	var mu sync.Mutex
	add := func(n int, list *[]string, text string, d *scan.Damage) {
		mu.Lock()
		defer mu.Unlock()
		f.Checked += n
		if list != nil {
			*list = append(*list, text)
		}
		if d != nil {
			f.Damage = append(f.Damage, *d)
		}
	}
	err := r.opts.Each(ctx, "read blobs", len(s.Blobs), func(ctx context.Context, i int) error {
		b := &s.Blobs[i]
		if b.Object == 0 {
			return nil // it is damage already
		}
		p := &buildcache.Package{Key: b.Key(), SpecKey: "a manifest", Algorithm: "sha256", Checksum: hex.EncodeToString(b.Sum[:]), Size: b.Size}
		bad, err := readThrough(ctx, r.store, p)
		if err == nil {
			add(1, nil, "", bad)
		}
		return err
	})
	if err != nil {
		return f, err
	}
	specs := slices.Collect(s.InCache())
	err = r.opts.Each(ctx, "checked specs", len(specs), func(ctx context.Context, i int) error {
		return r.checkSpec(ctx, caches, specs[i], func(unsigned string, d *scan.Damage) {
			if unsigned != "" {
				add(0, &f.Signed, unsigned, nil)
				return
			}
			add(1, nil, "", d)
		})
	})
	slices.Sort(f.Signed)
	return f, err
}

// readThrough reads a tarball or blob to its end. That it is not what it should
// be is damage; that it cannot be read is an error.
func readThrough(ctx context.Context, store buildcache.Store, p *buildcache.Package) (*scan.Damage, error) {
	body, err := (&buildcache.Cache{Store: store}).Open(ctx, p)
	if err == nil {
		_, err = io.Copy(io.Discard, body)
		body.Close()
	}
	if errors.Is(err, buildcache.ErrChecksum) || errors.Is(err, buildcache.ErrNotInCache) {
		return &scan.Damage{Key: p.Key, What: err.Error()}, nil
	}
	return nil, err
}

// checkSpec reads a spec's own spec file, and in v2 the tarball.
func (r *specReader) checkSpec(ctx context.Context, caches map[int]*buildcache.Cache, at dag.ID, done func(unsigned string, d *scan.Damage)) error {
	for _, layout := range []int{2, 3} {
		file, ok := r.SpecFile(at, layout)
		if !ok {
			continue
		}
		p, err := r.readSpec(ctx, caches[layout], file)
		var object *buildcache.ObjectError
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, buildcache.ErrSignature):
			done(r.DAG.Text(at)+": "+err.Error(), nil)
			continue
		case errors.As(err, &object), errors.Is(err, buildcache.ErrNotInCache):
			done("", &scan.Damage{Hash: r.DAG.Hash(at), Spec: r.DAG.Text(at), Key: r.Objects.Key(file), What: err.Error()})
			continue
		case err != nil:
			return err
		}
		var bad *scan.Damage
		if layout == 2 {
			if bad, err = readThrough(ctx, r.store, p); err != nil {
				return err
			}
		}
		if bad != nil {
			bad.Hash, bad.Spec = r.DAG.Hash(at), r.DAG.Text(at)
		}
		done("", bad)
	}
	return nil
}

// readSpec reads a spec file, or a manifest with its spec blob, and checks what
// it says of itself.
func (r *specReader) readSpec(ctx context.Context, cache *buildcache.Cache, file listing.ID) (*buildcache.Package, error) {
	s, _, err := cache.Spec(ctx, r.Pack(file))
	if err != nil {
		return nil, err
	}
	own := *s
	own.BuildSpec = "" // it is looked at by itself
	return cache.Find(ctx, &own)
}

// caches returns a reader of each layout: what it does not find where Spack
// puts it, it searches among what was listed.
func (r *specReader) caches(keys *buildcache.Keyring) map[int]*buildcache.Cache {
	caches := map[int]*buildcache.Cache{}
	for _, layout := range []int{2, 3} {
		caches[layout] = &buildcache.Cache{Store: listed{Store: r.store, scan: r.Scan, layout: layout}, Keys: keys}
	}
	return caches
}

// A listed store shows one layout, and lists what a scan has listed.
type listed struct {
	buildcache.Store
	scan   *scan.Scan
	layout int
}

func (l listed) shows(key string) bool {
	return strings.HasPrefix(key, "build_cache/") == (l.layout == 2)
}

func (l listed) Get(ctx context.Context, key string) (io.ReadCloser, buildcache.Object, error) {
	if !l.shows(key) {
		return nil, buildcache.Object{}, fs.ErrNotExist
	}
	return l.Store.Get(ctx, key)
}

func (l listed) List(ctx context.Context, prefix string) iter.Seq2[buildcache.Object, error] {
	return func(yield func(buildcache.Object, error) bool) {
		all := l.scan.Objects
		for i, _ := all.Find(prefix); int(i) < all.Len(); i++ {
			o := all.Get(i)
			if !strings.HasPrefix(o.Key, prefix) || l.shows(o.Key) && !yield(o, ctx.Err()) {
				return
			}
		}
	}
}
