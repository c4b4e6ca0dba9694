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
)

// Findings are what is wrong with a cache.
type Findings struct {
	Damage   []Damage `json:"damage"`             // what an index or a manifest names and is not there, or is not right
	Unlisted []string `json:"unlisted"`           // specs that no index has
	Open     []string `json:"open"`               // runtime dependencies that are not in the cache
	Orphans  []string `json:"orphans"`            // tarballs and blobs that nothing refers to
	Unknown  []string `json:"unknown,omitempty"`  // could be parts of packages, in a form that is not known here
	Stale    bool     `json:"stale"`              // v2: the index's checksum is not that of the index
	Checked  int      `json:"checked"`            // objects whose bytes were read
	Signed   []string `json:"unsigned,omitempty"` // specs without a good signature, where keys are given
}

// Sound says that nothing is wrong. Orphans are not: the next run takes them.
func (f Findings) Sound() bool {
	return len(f.Damage) == 0 && len(f.Unlisted) == 0 && len(f.Open) == 0 && len(f.Signed) == 0 && !f.Stale
}

// Verify looks for what is wrong with a cache: what indexes and manifests name
// must be there, and what is there must be named; what a spec needs at run
// time should be in the cache.
func Verify(s *Scan) Findings {
	f := Findings{Damage: slices.Clone(s.Damage)}
	for _, x := range s.indexes {
		f.Stale = f.Stale || x.stale
	}
	for at := range s.specs() {
		if !s.indexed(at) {
			f.Unlisted = append(f.Unlisted, s.dag.text(at))
		}
	}
	for i := range s.of(Tarball, Blob) {
		if o := s.objects.at(i); o.kind == Blob && o.of == 0 || o.kind == Tarball && !s.owned(i) && !s.odd[o.of-1] {
			f.Orphans = append(f.Orphans, s.objects.key(i))
		}
	}
	f.Unknown = slices.Sorted(slices.Values(s.unknown))
	slices.Sort(f.Unlisted)
	_, f.Open = open(s, &room{})
	return f
}

// Blame adds to what is open when a run has deleted what is missing.
func (f *Findings) Blame(ctx context.Context, store buildcache.Store, mirror string, s *Scan) error {
	r, err := readRoom(ctx, store, mirror, s)
	if err == nil {
		_, f.Open = open(s, r)
	}
	return err
}

// open returns what present specs need at run time and is not there: what a run
// has deleted, by its tombstones, and all.
func open(s *Scan, r *room) (deleted, all []string) {
	for at := range s.specs() {
		for to, types := range s.dag.edges(at) {
			if types&(buildcache.Runtime|splice) == 0 || s.present.Has(to) || s.dag.external(to) {
				continue
			}
			text := fmt.Sprintf("%s needs %s", s.dag.text(at), s.dag.text(to))
			t, ok := r.tomb(s.dag.hash(to))
			if !ok && types&buildcache.Runtime == 0 {
				continue
			}
			if ok {
				when, _ := r.when(t.run)
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
func VerifyDeep(ctx context.Context, store buildcache.Store, s *Scan, keys *buildcache.Keyring, opts ScanOptions) (Findings, error) {
	f := Verify(s)
	r := &specReader{s, store, ScanOptions{Parallel: max(1, opts.Parallel), Watch: opts.Watch}}
	caches := r.caches(keys)
	var mu sync.Mutex
	add := func(n int, list *[]string, text string, d *Damage) {
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
	err := r.opts.each(ctx, "read blobs", len(s.blobs), func(ctx context.Context, i int) error {
		b := &s.blobs[i]
		if b.object == 0 {
			return nil // it is damage already
		}
		p := &buildcache.Package{Key: b.key(), SpecKey: "a manifest", Algorithm: "sha256", Checksum: hex.EncodeToString(b.sum[:]), Size: b.size}
		bad, err := readThrough(ctx, r.store, p)
		if err == nil {
			add(1, nil, "", bad)
		}
		return err
	})
	if err != nil {
		return f, err
	}
	specs := slices.Collect(s.specs())
	err = r.opts.each(ctx, "checked specs", len(specs), func(ctx context.Context, i int) error {
		return r.checkSpec(ctx, caches, specs[i], func(unsigned string, d *Damage) {
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
func readThrough(ctx context.Context, store buildcache.Store, p *buildcache.Package) (*Damage, error) {
	body, err := (&buildcache.Cache{Store: store}).Open(ctx, p)
	if err == nil {
		_, err = io.Copy(io.Discard, body)
		body.Close()
	}
	if errors.Is(err, buildcache.ErrChecksum) || errors.Is(err, buildcache.ErrNotInCache) {
		return &Damage{Key: p.Key, What: err.Error()}, nil
	}
	return nil, err
}

// checkSpec reads a spec's own spec file, and in v2 the tarball.
func (r *specReader) checkSpec(ctx context.Context, caches map[int]*buildcache.Cache, at id, done func(unsigned string, d *Damage)) error {
	for _, layout := range []int{2, 3} {
		file, ok := r.file(at, layout)
		if !ok {
			continue
		}
		p, err := r.readSpec(ctx, caches[layout], file)
		var object *buildcache.ObjectError
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, buildcache.ErrSignature):
			done(r.dag.text(at)+": "+err.Error(), nil)
			continue
		case errors.As(err, &object), errors.Is(err, buildcache.ErrNotInCache):
			done("", &Damage{Hash: r.dag.hash(at), Spec: r.dag.text(at), Key: r.objects.key(file), What: err.Error()})
			continue
		case err != nil:
			return err
		}
		var bad *Damage
		if layout == 2 {
			if bad, err = readThrough(ctx, r.store, p); err != nil {
				return err
			}
		}
		if bad != nil {
			bad.Hash, bad.Spec = r.dag.hash(at), r.dag.text(at)
		}
		done("", bad)
	}
	return nil
}

// readSpec reads a spec file, or a manifest with its spec blob, and checks what
// it says of itself.
func (r *specReader) readSpec(ctx context.Context, cache *buildcache.Cache, file objectID) (*buildcache.Package, error) {
	s, _, err := cache.Spec(ctx, r.pack(file))
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
	scan   *Scan
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
		all := l.scan.objects
		for i, _ := all.find(prefix); int(i) < all.len(); i++ {
			o := all.get(i)
			if !strings.HasPrefix(o.Key, prefix) || l.shows(o.Key) && !yield(o, ctx.Err()) {
				return
			}
		}
	}
}
