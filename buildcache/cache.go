package buildcache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
)

// A Cache is a build cache in a store. Its methods may be called from several
// goroutines.
type Cache struct {
	Store Store

	// Keys are those that specs must be signed with; with nil, signatures are
	// not looked at.
	Keys *Keyring

	layouts []int // those to look into; all, if empty

	mu sync.Mutex
	v2 map[Hash][]Object // the objects of layout v2, once they were listed
}

// A Package is a spec's binary in a cache.
type Package struct {
	Spec        *Spec
	Key         string   // of the tarball
	SpecKey     string   // of the spec file (v2) or the manifest (v3)
	Layout      int      // 2 or 3
	Algorithm   string   // of the checksum: sha256
	Checksum    string   // of the tarball as stored, in hexadecimal
	Size        int64    // of the tarball as stored, in bytes; v2 has it from the store
	Compression string   // gzip
	SignedBy    string   // fingerprint of the signer's primary key; empty if not checked
	Notes       []string // for the user: formats newer than those that were tried
}

// Spec files and manifests are read as a whole, so their size has a limit. A
// spec file holds the whole DAG, some kB for each node.
const (
	maxSpecFile = 64 << 20
	maxManifest = 1 << 20
)

// Open looks which layouts a store holds. If none it is ErrNoCache; what the
// objects are worth shows when they are read.
func Open(ctx context.Context, store Store, keys *Keyring) (*Cache, error) {
	c := &Cache{Store: store, Keys: keys}
	for layout, prefix := range map[int]string{2: "build_cache/", 3: "v3/manifests/"} {
		for _, err := range store.List(ctx, prefix) {
			if err != nil {
				return nil, &ObjectError{prefix, err}
			}
			c.layouts = append(c.layouts, layout)
			break
		}
	}
	if len(c.layouts) == 0 {
		return nil, fmt.Errorf("%w: nothing below build_cache/ or v3/manifests/: check the mirror's address, or push a package", ErrNoCache)
	}
	slices.Sort(c.layouts)
	return c, nil
}

// Layouts returns the layouts that Open found: 2, 3, or both in this order.
func (c *Cache) Layouts() []int { return slices.Clone(c.layouts) }

// Find returns the package that holds the binary of a spec. Where both layouts
// hold it, it is that of v3. It is ErrNotInCache if there is none.
//
// Nothing is believed for its name: the spec file must be about the spec's
// binary hash. In layout v3 only the spec blob says so, which installing does
// not need; it is read if keys are given, so that no signed manifest can stand
// in for another.
func (c *Cache) Find(ctx context.Context, s *Spec) (*Package, error) {
	return c.find(ctx, s, func([]*Spec) error { return nil })
}

// find has check look at the nodes of the spec file, which is about the spec's binary, before it
// returns. In layout v3 it is called only where keys are given.
func (c *Cache) find(ctx context.Context, s *Spec, check func(nodes []*Spec) error) (*Package, error) {
	hash, err := ParseHash(string(s.BinaryHash()))
	if err != nil {
		return nil, fmt.Errorf("build cache: %s: %w", s.Name, err)
	}
	if s.External {
		return nil, fmt.Errorf("build cache: %s: %w: it is external, provided by the system", s, ErrNotInCache)
	}
	if c.has(3) {
		if p, err := c.findV3(ctx, s, hash, check); p != nil || err != nil {
			return p, err
		}
	}
	if c.has(2) {
		if p, err := c.findV2(ctx, s, hash, check); p != nil || err != nil {
			return p, err
		}
	}
	return nil, fmt.Errorf("build cache: %s: %w: no spec file or manifest for hash %s: push it", s, ErrNotInCache, hash)
}

// Spec reads a package's spec, and all nodes of its DAG with it as the first.
func (c *Cache) Spec(ctx context.Context, p *Package) (*Spec, []*Spec, error) {
	var nodes []*Spec
	var err error
	if p.Layout == 3 {
		nodes, err = c.nodesV3(ctx, p)
	} else {
		nodes, err = c.nodesV2(ctx, p)
	}
	if err != nil {
		return nil, nil, err
	}
	return nodes[0], nodes, nil
}

func (c *Cache) has(layout int) bool {
	return len(c.layouts) == 0 || slices.Contains(c.layouts, layout)
}

// get reads an object of at most limit bytes. Its errors name the object; a
// missing one is fs.ErrNotExist.
func (c *Cache) get(ctx context.Context, key string, limit int64) ([]byte, error) {
	r, _, err := c.Store.Get(ctx, key)
	if err != nil {
		return nil, &ObjectError{key, err}
	}
	defer r.Close()
	data, err := readAll(r, limit)
	if err != nil {
		return nil, &ObjectError{key, err}
	}
	return data, nil
}

// getNamed is get for an object that by refers to: it must be there.
func (c *Cache) getNamed(ctx context.Context, key string, limit int64, by string) ([]byte, error) {
	data, err := c.get(ctx, key, limit)
	if isMissing(err) {
		return nil, gone(key, by)
	}
	return data, err
}

// gone is the error for an object that is missing though by refers to it.
func gone(key, by string) error {
	return &ObjectError{key, fmt.Errorf("%w: missing, though %s refers to it: push the package again", ErrNotInCache, by)}
}

func readAll(r io.Reader, limit int64) ([]byte, error) {
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(r, limit+1))
	if err == nil && n > limit {
		err = fmt.Errorf("%w: longer than %d bytes", ErrFormat, limit)
	}
	return b.Bytes(), err
}

// verify returns what a spec file or manifest says, and who signed it.
func (c *Cache) verify(data []byte) (text []byte, signer string, err error) {
	if c.Keys != nil {
		return c.Keys.Verify(data)
	}
	text, err = unsign(data)
	return text, "", err
}

// checkRoot makes sure that a DAG is that of the spec with this binary hash.
func checkRoot(nodes []*Spec, hash Hash) error {
	if nodes[0].Hash != hash {
		return fmt.Errorf("%w: it is about %s, not about the hash %s in its name", ErrFormat, nodes[0], hash)
	}
	return nil
}

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
