package janitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"sync"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Findings are what is wrong with a cache.
type Findings struct {
	Damage   []Damage `json:"damage"`             // what an index or a manifest names and is not there, or is not right
	Unlisted []string `json:"unlisted"`           // specs that no index has
	Open     []string `json:"open"`               // runtime dependencies that are not in the cache
	Orphans  []string `json:"orphans"`            // tarballs and blobs that nothing refers to
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
	for _, hash := range s.hashes() {
		spec := s.Specs[hash]
		if !spec.Indexed {
			f.Unlisted = append(f.Unlisted, spec.String())
		}
		for _, d := range spec.Dependencies {
			n := s.Nodes[d.Hash]
			if d.Types&buildcache.Runtime != 0 && s.Specs[d.Hash] == nil && (n == nil || !n.External) {
				f.Open = append(f.Open, fmt.Sprintf("%s needs %s/%.7s", spec, d.Name, d.Hash))
			}
		}
	}
	used := s.usedBlobs(func(buildcache.Hash) bool { return false })
	for _, key := range s.keys(Tarball, Blob) {
		if o := s.Objects[key]; o.Kind == Blob && !used[key] || o.Kind == Tarball && !s.owned(o) {
			f.Orphans = append(f.Orphans, key)
		}
	}
	return f
}

// VerifyDeep reads every byte that a spec of the cache is made of, and checks
// signatures if keys are given.
func VerifyDeep(ctx context.Context, store buildcache.Store, s *Scan, keys *buildcache.Keyring, parallel int) (Findings, error) {
	f := Verify(s)
	r := &scanner{Scan: s, store: store, opts: ScanOptions{Parallel: max(1, parallel)}}
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
	blobs := s.namedBlobs()
	err := r.each(ctx, len(blobs), func(ctx context.Context, i int) error {
		return r.checkBlob(ctx, blobs[i], func(d *Damage) { add(1, nil, "", d) })
	})
	if err != nil {
		return f, err
	}
	hashes := s.hashes()
	r.openCaches(keys)
	err = r.each(ctx, len(hashes), func(ctx context.Context, i int) error {
		return r.checkSpec(ctx, s.Specs[hashes[i]], func(unsigned string, d *Damage) {
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

// namedBlobs returns the blobs that manifests name, each once, by key.
func (s *Scan) namedBlobs() []buildcache.Blob {
	byKey := map[string]buildcache.Blob{}
	var keys []string
	for _, blobs := range s.blobs {
		for _, b := range blobs {
			if _, ok := byKey[b.Key()]; !ok && s.Objects[b.Key()] != nil {
				keys = append(keys, b.Key())
			}
			byKey[b.Key()] = b
		}
	}
	slices.Sort(keys)
	var all []buildcache.Blob
	for _, key := range keys {
		all = append(all, byKey[key])
	}
	return all
}

func (r *scanner) checkBlob(ctx context.Context, b buildcache.Blob, done func(*Damage)) error {
	p := &buildcache.Package{Key: b.Key(), SpecKey: "a manifest", Algorithm: b.Algorithm, Checksum: b.Checksum, Size: b.Size}
	bad, err := readThrough(ctx, r.store, p)
	if err != nil {
		return err
	}
	done(bad)
	return nil
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
func (r *scanner) checkSpec(ctx context.Context, s *Spec, done func(unsigned string, d *Damage)) error {
	for _, layout := range []int{2, 3} {
		if !r.hasLayout(s.Hash, layout) {
			continue
		}
		own := *s.Spec
		own.BuildSpec = ""
		cache := r.caches[layout]
		p, err := cache.Find(ctx, &own)
		switch {
		case errors.Is(err, buildcache.ErrSignature):
			done(s.String()+": "+err.Error(), nil)
			continue
		case errors.Is(err, buildcache.ErrFormat), errors.Is(err, buildcache.ErrNotInCache), errors.Is(err, buildcache.ErrChecksum):
			done("", &Damage{Hash: s.Hash, Spec: s.String(), Key: s.Objects[0].Key, What: err.Error()})
			continue
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		}
		if layout == 3 {
			if err := r.describes(ctx, cache, p, done); err != nil {
				return err
			}
			continue
		}
		bad, err := readThrough(ctx, r.store, p)
		if err != nil {
			return err
		}
		if bad != nil {
			bad.Hash, bad.Spec = s.Hash, s.String()
		}
		done("", bad)
	}
	return nil
}

// describes makes sure that a spec blob is about the hash in its manifest's
// name.
func (r *scanner) describes(ctx context.Context, cache *buildcache.Cache, p *buildcache.Package, done func(string, *Damage)) error {
	_, _, err := cache.Spec(ctx, p)
	if err == nil {
		return nil
	}
	var object *buildcache.ObjectError
	if !errors.As(err, &object) || ctx.Err() != nil {
		return err
	}
	done("", &Damage{Hash: p.Spec.Hash, Spec: p.Spec.String(), Key: path.Clean(p.SpecKey), What: err.Error()})
	return nil
}
