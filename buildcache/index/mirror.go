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

// Where the main indexes of a mirror lie: the text itself in layout v2, in v3 a manifest that names
// texts. In v3 views have one each, in folders below that of the main one.
const (
	KeyV2     = "build_cache/index.json"
	KeyV3     = indexesV3 + "index.manifest.json"
	indexesV3 = "v3/manifests/index/"
)

// Keys returns where the indexes of a mirror lie: the main ones first, there or not, as no listing
// is needed to ask for them, then those of views.
func Keys(ctx context.Context, store buildcache.Store) ([]string, error) {
	keys := []string{KeyV2, KeyV3}
	for o, err := range store.List(ctx, indexesV3) {
		if err != nil {
			return nil, &buildcache.ObjectError{Key: indexesV3, Err: err}
		}
		if buildcache.KindOf(o.Key) == buildcache.IndexManifest && o.Key != KeyV3 {
			keys = append(keys, o.Key)
		}
	}
	return keys, nil
}

// Blobs reads a manifest of layout v3 and returns it with the indexes that it names, the oldest
// version of Spack's database first.
func Blobs(ctx context.Context, store buildcache.Store, key string) (*buildcache.Manifest, buildcache.Object, []buildcache.Blob, error) {
	text, o, err := buildcache.ReadAll(ctx, store, key)
	if err != nil {
		return nil, o, nil, err
	}
	m, err := buildcache.ParseManifest(text)
	var blobs []buildcache.Blob
	if err == nil {
		blobs, err = m.BlobsOf(buildcache.IndexBlob)
	}
	for _, b := range blobs {
		if b.Compression != "none" {
			err = fmt.Errorf("%w: the index is compressed", buildcache.ErrFormat)
		}
	}
	if err != nil {
		return nil, o, nil, &buildcache.ObjectError{Key: key, Err: err}
	}
	return m, o, blobs, nil
}

// Again reads what lies at key, once more if a blob that its manifest names is not there: the
// manifest may have been replaced meanwhile, and the blob of the former one be gone.
func Again[T any](key string, read func() (T, error)) (T, error) {
	for try := 0; ; try++ {
		found, err := read()
		var object *buildcache.ObjectError
		if try == 2 || !errors.Is(err, fs.ErrNotExist) || errors.As(err, &object) && object.Key == key {
			return found, err
		}
	}
}

// ReadSum reads an index of a known size to its end, as Read does, and returns its sha256 in
// hexadecimal. One that is shorter or longer is io.ErrUnexpectedEOF.
func ReadSum(r io.Reader, size int64) (*Graph, string, error) {
	sum := sha256.New()
	g, err := Read(io.TeeReader(r, sum), size)
	if err == nil && g.Size() != size {
		err = fmt.Errorf("%d bytes came, %d were announced: %w", g.Size(), size, io.ErrUnexpectedEOF)
	}
	if err != nil {
		return nil, "", err
	}
	return g, hex.EncodeToString(sum.Sum(nil)), nil
}

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
	return readMirror(ctx, store, ReadSum)
}

// readMirror reads all indexes by read, which returns a text's sha256 as well.
func readMirror[T any](ctx context.Context, store buildcache.Store, read func(io.Reader, int64) (T, string, error)) ([]T, error) {
	keys, err := Keys(ctx, store)
	if err != nil {
		return nil, err
	}
	var all []T
	for _, key := range keys {
		found, err := Again(key, func() ([]T, error) {
			if key == KeyV2 {
				x, err := readObject(ctx, store, key, "", read)
				return []T{x}, err
			}
			_, _, blobs, err := Blobs(ctx, store, key)
			found := make([]T, 0, len(blobs))
			for _, b := range blobs {
				var x T
				if x, err = readObject(ctx, store, b.Key(), b.Checksum, read); err != nil {
					break
				}
				found = append(found, x)
			}
			return found, err
		})
		var object *buildcache.ObjectError
		if errors.Is(err, fs.ErrNotExist) && errors.As(err, &object) && object.Key == key {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// readObject reads an index, which must have a checksum where one is given.
func readObject[T any](ctx context.Context, store buildcache.Store, key, checksum string, read func(io.Reader, int64) (T, string, error)) (T, error) {
	var x T
	r, o, err := store.Get(ctx, key)
	if err == nil {
		defer r.Close()
		var sum string
		if x, sum, err = read(r, o.Size); err == nil && checksum != "" && sum != checksum {
			err = fmt.Errorf("%w: not the bytes that its manifest names", buildcache.ErrChecksum)
		}
	}
	if err != nil {
		return x, &buildcache.ObjectError{Key: key, Err: err}
	}
	return x, nil
}
