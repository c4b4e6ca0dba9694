package janitor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// The gate: real servers have left keys out of a listing without an error.
// Whatever is known from elsewhere and was not listed is asked for by itself;
// if it is there, nothing in the listing's gaps can be trusted.

// gate makes sure that all is listed that entries and manifests name.
func (r *scanner) gate(ctx context.Context) error {
	var checks []func(context.Context) (*Damage, error)
	r.openCaches(nil)
	for _, x := range r.indexes {
		x.dangling = map[buildcache.Hash]bool{}
		for _, e := range x.entries.records {
			if e.cached && !r.hasLayout(e.hash, x.layout) {
				checks = append(checks, func(ctx context.Context) (*Damage, error) { return r.unlistedSpec(ctx, e.spec, x) })
			}
		}
	}
	for _, hash := range r.hashes() {
		s := r.Specs[hash]
		if s.Spec == nil {
			return fmt.Errorf("%s: %w: nothing describes the spec", hash, buildcache.ErrFormat)
		}
		if r.hasLayout(hash, 2) && !slices.ContainsFunc(s.Objects, func(o *Object) bool { return o.Kind == Tarball }) {
			checks = append(checks, func(ctx context.Context) (*Damage, error) { return r.unlistedTarball(ctx, s) })
		}
	}
	for _, key := range r.keys(Manifest, IndexManifest, OtherManifest) {
		for _, b := range r.blobs[key] {
			if r.Objects[b.Key()] == nil {
				checks = append(checks, func(ctx context.Context) (*Damage, error) { return r.unlistedBlob(ctx, key, b.Key()) })
			}
		}
	}
	if err := r.unlistedKeys(ctx); err != nil {
		return err
	}
	for _, x := range r.indexes {
		if r.Objects[x.object.Key] == nil {
			return incomplete(x.object.Key)
		}
	}
	layouts := r.layouts()
	for _, s := range r.absentRoots() {
		for _, layout := range layouts {
			checks = append(checks, func(ctx context.Context) (*Damage, error) { return r.unlistedRoot(ctx, s, layout) })
		}
	}
	found := make([]*Damage, len(checks))
	err := r.each(ctx, len(checks), func(ctx context.Context, i int) (err error) {
		found[i], err = checks[i](ctx)
		return err
	})
	for _, d := range found {
		if d != nil {
			r.Damage = append(r.Damage, *d)
			if d.index != nil {
				d.index.dangling[d.Hash] = true
			}
			if s := r.Specs[d.Hash]; s != nil && d.Key != "" {
				s.Missing = append(s.Missing, d.Key)
			}
		}
	}
	return err
}

// absentRoots returns what lockfiles hold and was not listed.
func (r *scanner) absentRoots() []*buildcache.Spec {
	var absent []*buildcache.Spec
	seen := map[buildcache.Hash]bool{}
	for _, l := range r.opts.Locks {
		for hash, s := range l.File.Specs {
			if !s.External && r.Specs[hash] == nil && !seen[hash] {
				seen[hash] = true
				absent = append(absent, s)
			}
		}
	}
	return absent
}

// layouts returns those that the cache has anything of.
func (s *Scan) layouts() []int {
	var layouts []int
	for layout, prefix := range map[int]string{2: "build_cache/", 3: "v3/"} {
		for key := range s.Objects {
			if strings.HasPrefix(key, prefix) {
				layouts = append(layouts, layout)
				break
			}
		}
	}
	slices.Sort(layouts)
	return layouts
}

// hasLayout says whether a spec has a spec file or manifest in a layout.
func (s *Scan) hasLayout(hash buildcache.Hash, layout int) bool {
	spec := s.Specs[hash]
	kind := map[int]Kind{2: SpecFile, 3: Manifest}[layout]
	return spec != nil && slices.ContainsFunc(spec.Objects, func(o *Object) bool { return o.Kind == kind })
}

func (r *scanner) unlistedSpec(ctx context.Context, s *buildcache.Spec, x *index) (*Damage, error) {
	p, err := r.find(ctx, s, x.layout)
	if p != nil && r.Objects[p.SpecKey] == nil {
		return nil, incomplete(p.SpecKey)
	}
	if err != nil && !errors.Is(err, buildcache.ErrNotInCache) {
		return nil, err
	}
	return &Damage{index: x, Hash: s.Hash, Spec: s.String(), What: "in the index " + x.object.Key + ", but it has no spec file or manifest"}, nil
}

func (r *scanner) unlistedTarball(ctx context.Context, s *Spec) (*Damage, error) {
	p, err := r.find(ctx, s.Spec, 2)
	if p != nil && r.Objects[p.Key] == nil {
		return nil, incomplete(p.Key)
	}
	if err != nil && !errors.Is(err, buildcache.ErrNotInCache) {
		return nil, unreadable(s.Objects[0].Key, err)
	}
	return &Damage{Hash: s.Hash, Spec: s.String(), Key: s.Objects[0].Key, What: "its tarball is missing: push it again"}, nil
}

func (r *scanner) unlistedBlob(ctx context.Context, manifest, blob string) (*Damage, error) {
	there, err := exists(ctx, r.store, blob)
	if err != nil {
		return nil, err
	}
	if there {
		return nil, incomplete(blob)
	}
	d := &Damage{Key: blob, What: "missing, though " + manifest + " names it: push its package again"}
	if hash, ok := buildcache.KeyHash(manifest); ok {
		d.Hash, d.Spec = hash, r.Specs[hash].String()
	}
	return d, nil
}

// unlistedKeys looks for the manifests of public keys, whose blobs would be
// orphans without them. Which keys there are stands in a blob of its own.
func (r *scanner) unlistedKeys(ctx context.Context) error {
	if len(r.keys(Manifest, OtherManifest, IndexManifest)) == 0 {
		return nil
	}
	if r.Objects[keysV3] == nil {
		there, err := exists(ctx, r.store, keysV3)
		if err == nil && there {
			err = incomplete(keysV3)
		}
		return err
	}
	for _, b := range r.blobs[keysV3] {
		data, _, err := get(ctx, r.store, b.Key())
		if errors.Is(err, fs.ErrNotExist) {
			continue // the gate tells
		}
		var list struct{ Keys map[string]any }
		if err == nil && json.Unmarshal(data, &list) != nil {
			err = unreadable(b.Key(), buildcache.ErrFormat)
		}
		if err != nil {
			return err
		}
		for print := range list.Keys {
			key := "v3/manifests/key/" + print + ".key.manifest.json"
			if r.Objects[key] != nil {
				continue
			}
			there, err := exists(ctx, r.store, key)
			if err == nil && there {
				err = incomplete(key)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func incomplete(key string) error {
	return fmt.Errorf("%w: %s is there, but was not listed: try again, and if it stays like this the server's listings cannot be trusted", ErrIncomplete, key)
}

// unlistedRoot looks for a spec that a lockfile needs and that was not listed.
// Most often nobody has pushed it, or not here.
func (r *scanner) unlistedRoot(ctx context.Context, s *buildcache.Spec, layout int) (*Damage, error) {
	p, err := r.find(ctx, s, layout)
	if p != nil && r.Objects[p.SpecKey] == nil {
		return nil, incomplete(p.SpecKey)
	}
	if errors.Is(err, buildcache.ErrNotInCache) {
		err = nil
	}
	return nil, err
}

// find asks the store for a spec's binary in one layout, at the keys where
// Spack would look, and falls back to what was listed.
func (r *scanner) find(ctx context.Context, spec *buildcache.Spec, layout int) (*buildcache.Package, error) {
	if spec.External {
		return nil, buildcache.ErrNotInCache
	}
	own := *spec
	own.BuildSpec = "" // asked for by itself where it matters
	return r.caches[layout].Find(ctx, &own)
}

// openCaches makes a cache of each layout, once for all specs: for those that
// it does not find at their keys it searches what was listed.
func (r *scanner) openCaches(keys *buildcache.Keyring) {
	r.caches = map[int]*buildcache.Cache{}
	for _, layout := range []int{2, 3} {
		l := listed{Store: r.store, scan: r.Scan, layout: layout}
		for key := range r.Objects {
			if l.shows(key) {
				l.keys = append(l.keys, key)
			}
		}
		slices.Sort(l.keys)
		r.caches[layout] = &buildcache.Cache{Store: l, Keys: keys}
	}
}

// A listed store shows one layout. It lists what a scan has listed, except
// where a single object is asked for.
type listed struct {
	buildcache.Store
	scan   *Scan
	layout int
	keys   []string // ascending
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
		if strings.HasSuffix(prefix, ".spack") { // one object: what a listing says of it is in doubt
			body, o, err := l.Store.Get(ctx, prefix)
			if err == nil {
				body.Close()
				yield(o, nil)
			} else if !errors.Is(err, fs.ErrNotExist) {
				yield(o, err)
			}
			return
		}
		first, _ := slices.BinarySearch(l.keys, prefix)
		for _, key := range l.keys[first:] {
			if !strings.HasPrefix(key, prefix) || !yield(l.scan.Objects[key].Object, nil) {
				return
			}
		}
	}
}
