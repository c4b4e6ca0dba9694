package buildcache

import (
	"context"
	"path"
	"strings"
)

// Suffixes of spec files in v2, in the order in which Spack tries them: a
// package that was pushed twice can have both.
var specSuffixes = []string{".spec.json.sig", ".spec.json"}

// findV2 returns nil if layout v2 does not hold the spec.
func (c *Cache) findV2(ctx context.Context, s *Spec, hash Hash, check func([]*Spec) error) (*Package, error) {
	key, data, err := c.specFileV2(ctx, s, hash)
	if key == "" || err != nil {
		return nil, err
	}
	text, signer, err := c.verify(data)
	if err != nil {
		return nil, &ObjectError{key, err}
	}
	f, err := parseSpecFile(text)
	if err == nil {
		err = checkRoot(f.nodes, hash)
	}
	if err == nil {
		err = checkDigest(f.algorithm, f.checksum)
	}
	if err == nil {
		err = check(f.nodes)
	}
	if err != nil {
		return nil, &ObjectError{key, err}
	}
	tarball, err := c.tarballV2(ctx, s, hash, key)
	if err != nil {
		return nil, err
	}
	return &Package{
		Spec:        s,
		Key:         tarball.Key,
		SpecKey:     key,
		Layout:      2,
		Algorithm:   f.algorithm,
		Checksum:    f.checksum,
		Size:        tarball.Size,
		Compression: "gzip",
		SignedBy:    signer,
		Notes:       f.notes(),
	}, nil
}

// specFileV2 reads the spec file of a hash; none has the key "".
func (c *Cache) specFileV2(ctx context.Context, s *Spec, hash Hash) (key string, data []byte, err error) {
	for _, suffix := range specSuffixes {
		key := "build_cache/" + v2Stem(s, hash) + suffix
		if data, err := c.get(ctx, key, maxSpecFile); !isMissing(err) {
			return key, data, err
		}
	}
	objects, err := c.listV2(ctx)
	if err != nil {
		return "", nil, err
	}
	for _, suffix := range specSuffixes {
		for _, o := range objects[hash] {
			if strings.HasSuffix(o.Key, suffix) {
				data, err := c.getNamed(ctx, o.Key, maxSpecFile, "a listing")
				return o.Key, data, err
			}
		}
	}
	return "", nil, nil
}

// tarballV2 looks for the tarball of a spec file: only its name links them.
func (c *Cache) tarballV2(ctx context.Context, s *Spec, hash Hash, specKey string) (Object, error) {
	want := v2Tarball(s, hash)
	for o, err := range c.Store.List(ctx, want) {
		if err != nil {
			return Object{}, &ObjectError{want, err}
		}
		if o.Key == want {
			return o, nil
		}
	}
	objects, err := c.listV2(ctx)
	if err != nil {
		return Object{}, err
	}
	var found []Object
	for _, o := range objects[hash] {
		if strings.HasSuffix(o.Key, ".spack") {
			found = append(found, o)
		}
	}
	stem, _, _ := strings.Cut(path.Base(specKey), ".spec.json")
	for _, o := range found {
		if path.Base(o.Key) == stem+".spack" {
			return o, nil
		}
	}
	if len(found) > 0 {
		return found[0], nil // the checksum in the spec file decides whether it is the one
	}
	return Object{}, gone(want, specKey)
}

// listV2 lists layout v2 by hash, once: the folder is flat, and a listing of
// it no cheaper for one spec than for all.
func (c *Cache) listV2(ctx context.Context) (map[Hash][]Object, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.v2 != nil {
		return c.v2, nil
	}
	objects := map[Hash][]Object{}
	for o, err := range c.Store.List(ctx, "build_cache/") {
		if err != nil {
			return nil, &ObjectError{"build_cache/", err}
		}
		if h, ok := KeyHash(o.Key); ok {
			objects[h] = append(objects[h], o)
		}
	}
	c.v2 = objects
	return objects, nil
}

func (c *Cache) nodesV2(ctx context.Context, p *Package) ([]*Spec, error) {
	data, err := c.getNamed(ctx, p.SpecKey, maxSpecFile, "an earlier reading")
	if err != nil {
		return nil, err
	}
	text, _, err := c.verify(data)
	if err != nil {
		return nil, &ObjectError{p.SpecKey, err}
	}
	f, err := parseSpecFile(text)
	if err == nil {
		err = checkRoot(f.nodes, p.Spec.BinaryHash())
	}
	if err != nil {
		return nil, &ObjectError{p.SpecKey, err}
	}
	return f.nodes, nil
}
