// Package push writes packages into a build cache as Spack does: in layout v2 or v3, signed or not,
// the tarball before what names it, so that no reader ever finds a name without its bytes.
//
// It checks nothing that a caller says of a package but what it needs to write it. What a build
// hands over must have been compared with its lockfile before (package gateway).
package push

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A Store is a mirror that can be read and written.
type Store interface {
	buildcache.Store
	buildcache.Writer
}

// A Package is a binary package to be stored.
type Package struct {
	Spec     *buildcache.Spec
	SpecFile []byte // what a spec file of v2 has under "spec": {"_meta": …, "nodes": […]}
	Layout   int    // 2 or 3, of the cache: that of the Spack that built it
	Tarball  io.ReaderAt
	Size     int64  // of the tarball, in bytes
	Checksum string // sha256 of the tarball, in hexadecimal

	TarballType, SpecType string // media types in v3
}

// tries is how often a tarball that another pusher overwrites is written again.
const tries = 3

// Push stores a package, signed where there is a signer. The index is not touched: that is another
// command's job.
func Push(ctx context.Context, store Store, signer *Signer, p Package) error {
	write := pushV3
	if p.Layout == 2 {
		write = pushV2
	}
	if err := write(ctx, store, signer, p); err != nil {
		return fmt.Errorf("push %s: %w", p.Spec, err)
	}
	return nil
}

// pushV2 writes the tarball, then the spec file. Only its name links the two: where another pusher
// has written its own tarball meanwhile, ours is written again, so that the last writer leaves a
// pair.
func pushV2(ctx context.Context, store Store, signer *Signer, p Package) error {
	text, err := specFileV2(p)
	if err != nil {
		return err
	}
	keys := buildcache.SpecKeys(p.Spec, 2) // the signed one first
	key, stale := keys[1], keys[0]
	if signer != nil {
		key, stale = keys[0], keys[1]
		if text, err = signer.Sign(text); err != nil {
			return err
		}
	}
	tarball := buildcache.TarballKey(p.Spec)
	for range tries {
		etag, err := store.Put(ctx, tarball, p.Tarball, p.Size, buildcache.PutOptions{})
		if err != nil {
			return err
		}
		if err := put(ctx, store, key, text, buildcache.PutOptions{}); err != nil {
			return err
		}
		same, err := isStill(ctx, store, tarball, etag)
		if err != nil {
			return err
		}
		if same {
			return store.Delete(ctx, []string{stale}) // it is about another tarball
		}
	}
	return errors.New("another process keeps writing the same package")
}

// isStill reports whether an object is what we have written.
func isStill(ctx context.Context, store Store, key, etag string) (bool, error) {
	for o, err := range store.List(ctx, key) {
		if err != nil {
			return false, err
		}
		if o.Key == key {
			return o.ETag == etag, nil
		}
	}
	return false, nil
}

func specFileV2(p Package) ([]byte, error) {
	return tokens(map[string]any{
		"spec":                      json.RawMessage(p.SpecFile),
		"buildcache_layout_version": 2,
		"binary_cache_checksum":     map[string]string{"hash_algorithm": "sha256", "hash": p.Checksum},
	})
}

// pushV3 writes both blobs, then the manifest that names them. Blobs are named by content, so no
// pusher disturbs another.
func pushV3(ctx context.Context, store Store, signer *Signer, p Package) error {
	text, err := tokens(map[string]any{"spec": json.RawMessage(p.SpecFile), "buildcache_layout_version": 2})
	if err != nil {
		return err
	}
	spec := compress(text)
	blobs := []blob{
		{p.Size, p.TarballType, "gzip", "sha256", p.Checksum},
		{int64(len(spec)), p.SpecType, "gzip", "sha256", hexSum(spec)},
	}
	manifest, err := tokens(manifest{3, blobs})
	if err != nil {
		return err
	}
	if signer != nil {
		if manifest, err = signer.Sign(manifest); err != nil {
			return err
		}
	}
	if _, err := store.Put(ctx, blobs[0].key(), p.Tarball, p.Size, buildcache.PutOptions{}); err != nil {
		return err
	}
	if err := put(ctx, store, blobs[1].key(), spec, buildcache.PutOptions{}); err != nil {
		return err
	}
	if err := put(ctx, store, buildcache.SpecKeys(p.Spec, 3)[0], manifest, buildcache.PutOptions{}); err != nil {
		return err
	}
	return putLayout(ctx, store)
}

// putLayout writes what marks a cache as one of layout v3, unless it is there.
func putLayout(ctx context.Context, store Store) error {
	const key = "v3/layout.json"
	for o, err := range store.List(ctx, key) {
		if err != nil || o.Key == key {
			return err
		}
	}
	return put(ctx, store, key, []byte("{\"signing\": \"gpg\"}"), buildcache.PutOptions{})
}

// A manifest is Spack's, of layout v3.
type manifest struct {
	Version int    `json:"version"`
	Data    []blob `json:"data"`
}

type blob struct {
	Size        int64  `json:"contentLength"`
	MediaType   string `json:"mediaType"`
	Compression string `json:"compression"`
	Algorithm   string `json:"checksumAlgorithm"`
	Checksum    string `json:"checksum"`
}

func (b blob) key() string { return "blobs/sha256/" + b.Checksum[:2] + "/" + b.Checksum }

func put(ctx context.Context, store Store, key string, data []byte, opts buildcache.PutOptions) error {
	_, err := store.Put(ctx, key, bytes.NewReader(data), int64(len(data)), opts)
	return err
}

// tokens writes JSON with a line for each value: GnuPG cuts lines of 20 000 characters.
func tokens(v any) ([]byte, error) {
	var text, lines bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	err := json.Indent(&lines, bytes.TrimSpace(text.Bytes()), "", "")
	return lines.Bytes(), err
}

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
