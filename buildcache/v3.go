package buildcache

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// findV3 returns nil if layout v3 does not hold the spec.
func (c *Cache) findV3(ctx context.Context, s *Spec, hash Hash, check func([]*Spec) error) (*Package, error) {
	key := manifestKey(s, hash)
	data, err := c.get(ctx, key, maxManifest)
	if isMissing(err) {
		if key, err = c.lookV3(ctx, s, hash); key == "" || err != nil {
			return nil, err
		}
		data, err = c.getNamed(ctx, key, maxManifest, "a listing")
	}
	if err != nil {
		return nil, err
	}
	tarball, spec, signer, err := c.manifest(data)
	if err != nil {
		return nil, &ObjectError{key, err}
	}
	var notes []string
	for _, b := range []Blob{tarball, spec} {
		if _, note := b.Kind(); note != "" {
			notes = append(notes, note)
		}
	}
	if c.Keys != nil {
		nodes, err := c.specBlob(ctx, spec, key)
		if err != nil {
			return nil, err
		}
		if err := checkRoot(nodes, hash); err != nil {
			return nil, &ObjectError{key, fmt.Errorf("%w: the manifest was signed for another spec: %w", ErrSignature, err)}
		}
		if err := check(nodes); err != nil {
			return nil, &ObjectError{key, err}
		}
	}
	return &Package{
		Spec:        s,
		Key:         tarball.Key(),
		SpecKey:     key,
		Layout:      3,
		Algorithm:   tarball.Algorithm,
		Checksum:    tarball.Checksum,
		Size:        tarball.Size,
		Compression: tarball.Compression,
		SignedBy:    signer,
		Notes:       notes,
	}, nil
}

// lookV3 looks for a manifest by its hash alone; none is "".
func (c *Cache) lookV3(ctx context.Context, s *Spec, hash Hash) (string, error) {
	folder := manifestFolder(s)
	for o, err := range c.Store.List(ctx, folder) {
		if err != nil {
			return "", &ObjectError{folder, err}
		}
		if h, ok := KeyHash(o.Key); ok && h == hash {
			return o.Key, nil
		}
	}
	return "", nil
}

// manifest reads the manifest of a spec.
func (c *Cache) manifest(data []byte) (tarball, spec Blob, signer string, err error) {
	text, signer, err := c.verify(data)
	if err != nil {
		return Blob{}, Blob{}, "", err
	}
	m, err := ParseManifest(text)
	if err != nil {
		return Blob{}, Blob{}, "", err
	}
	if tarball, err = m.Blob(TarballBlob); err != nil {
		return Blob{}, Blob{}, "", err
	}
	if tarball.Compression != "gzip" {
		return Blob{}, Blob{}, "", fmt.Errorf("%w: the tarball's compression is %q, its type says gzip", ErrFormat, tarball.Compression)
	}
	spec, err = m.Blob(SpecBlob)
	return tarball, spec, signer, err
}

func (c *Cache) nodesV3(ctx context.Context, p *Package) ([]*Spec, error) {
	data, err := c.getNamed(ctx, p.SpecKey, maxManifest, "an earlier reading")
	if err != nil {
		return nil, err
	}
	_, spec, _, err := c.manifest(data)
	if err != nil {
		return nil, &ObjectError{p.SpecKey, err}
	}
	nodes, err := c.specBlob(ctx, spec, p.SpecKey)
	if err != nil {
		return nil, err
	}
	if err := checkRoot(nodes, p.Spec.BinaryHash()); err != nil {
		return nil, &ObjectError{p.SpecKey, err}
	}
	return nodes, nil
}

// specBlob reads the nodes in the spec blob of a manifest, once its size and
// checksum are right.
func (c *Cache) specBlob(ctx context.Context, b Blob, manifestKey string) ([]*Spec, error) {
	data, err := c.getNamed(ctx, b.Key(), maxSpecFile, manifestKey)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(data); int64(len(data)) != b.Size || hex.EncodeToString(sum[:]) != b.Checksum {
		return nil, &ObjectError{b.Key(), fmt.Errorf("%w: not the %d bytes that its manifest names", ErrChecksum, b.Size)}
	}
	if b.Compression == "gzip" {
		if data, err = gunzip(data); err != nil {
			return nil, &ObjectError{b.Key(), err}
		}
	}
	f, err := parseSpecFile(data)
	if err != nil {
		return nil, &ObjectError{b.Key(), err}
	}
	return f.nodes, nil
}

// maxRatio is how much smaller a spec file can get when it is compressed. Real ones come to a
// sixth; gzip itself ends at a thousandth, with which a small object would fill the memory.
const maxRatio = 100

func gunzip(data []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%w: gunzip: %w", ErrFormat, err)
	}
	limit := min(maxSpecFile, max(64<<10, maxRatio*int64(len(data))))
	if data, err = readAll(r, limit); err != nil {
		return nil, fmt.Errorf("%w: gunzip: %w", ErrFormat, err)
	}
	return data, nil
}
