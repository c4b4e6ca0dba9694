package index

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A Mirror is what the indexes of a mirror say that it holds: those of both layouts, and those of
// views.
type Mirror []*Graph

// Has reports whether an index has the binary of a hash as cached.
func (m Mirror) Has(h buildcache.Hash) bool {
	for _, g := range m {
		if id, ok := g.Lookup(h); ok && g.InCache(id) {
			return true
		}
	}
	return false
}

// Len is the number of entries, each index counted.
func (m Mirror) Len() (n int) {
	for _, g := range m {
		n += len(g.order)
	}
	return n
}

// ReadMirror reads the indexes of a mirror. One without any is empty, and no error: nothing was
// pushed there yet, or no index made. One that is there and cannot be read is an error: what it
// names must not be built again for that.
func ReadMirror(ctx context.Context, store buildcache.Store) (Mirror, error) {
	var m Mirror
	keys := []string{"build_cache/index.json"}
	for o, err := range store.List(ctx, "v3/manifests/index/") {
		if err != nil {
			return nil, &buildcache.ObjectError{Key: "v3/manifests/index/", Err: err}
		}
		if buildcache.KindOf(o.Key) == buildcache.IndexManifest {
			keys = append(keys, o.Key)
		}
	}
	for _, key := range keys {
		read := readManifestIndexes
		if key == keys[0] {
			read = func(ctx context.Context, s buildcache.Store, key string) ([]*Graph, error) {
				g, err := readObject(ctx, s, key, "")
				return []*Graph{g}, err
			}
		}
		// The blob of a manifest that is replaced meanwhile may be gone: then the new one is read.
		for try := 0; ; try++ {
			found, err := read(ctx, store, key)
			if err == nil {
				m = append(m, found...)
				break
			}
			var object *buildcache.ObjectError
			missing := errors.Is(err, fs.ErrNotExist) && errors.As(err, &object)
			if missing && object.Key == key {
				break
			}
			if !missing || try == 2 {
				return nil, err
			}
		}
	}
	return m, nil
}

// maxIndexManifest is how long a manifest may be, in bytes.
const maxIndexManifest = 1 << 20

func readManifestIndexes(ctx context.Context, store buildcache.Store, key string) ([]*Graph, error) {
	r, _, err := store.Get(ctx, key)
	if err != nil {
		return nil, &buildcache.ObjectError{Key: key, Err: err}
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, maxIndexManifest))
	if err != nil {
		return nil, &buildcache.ObjectError{Key: key, Err: err}
	}
	manifest, err := buildcache.ParseManifest(text)
	var blobs []buildcache.Blob
	if err == nil {
		blobs, err = manifest.BlobsOf(buildcache.IndexBlob)
	}
	if err != nil {
		return nil, &buildcache.ObjectError{Key: key, Err: err}
	}
	var found []*Graph
	for _, b := range blobs {
		if b.Compression != "none" {
			return nil, &buildcache.ObjectError{Key: key, Err: fmt.Errorf("%w: the index is compressed", buildcache.ErrFormat)}
		}
		g, err := readObject(ctx, store, b.Key(), b.Checksum)
		if err != nil {
			return nil, err
		}
		found = append(found, g)
	}
	return found, nil
}

// readObject reads an index, which must have a checksum where one is given.
func readObject(ctx context.Context, store buildcache.Store, key, checksum string) (*Graph, error) {
	r, o, err := store.Get(ctx, key)
	if err != nil {
		return nil, &buildcache.ObjectError{Key: key, Err: err}
	}
	defer r.Close()
	sum := sha256.New()
	g, err := Read(io.TeeReader(r, sum), o.Size)
	switch {
	case err != nil:
	case g.Size() != o.Size:
		err = fmt.Errorf("%d bytes came, %d were announced: %w", g.Size(), o.Size, io.ErrUnexpectedEOF)
	case checksum != "" && hex.EncodeToString(sum.Sum(nil)) != checksum:
		err = fmt.Errorf("%w: not the bytes that its manifest names", buildcache.ErrChecksum)
	}
	if err != nil {
		return nil, &buildcache.ObjectError{Key: key, Err: err}
	}
	return g, nil
}
