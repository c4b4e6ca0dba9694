package whymiss

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
)

// ErrNoIndex is that a build cache has none, so that nothing can be said of what it holds.
var ErrNoIndex = errors.New("the build cache has no index")

// An Index is what build caches hold, as their indexes say. It belongs to one goroutine; Close it.
type Index struct {
	texts []text
	named map[string][]*buildcache.Spec // those that were read
	known map[buildcache.Hash]bool      // by NewIndex: entries; true if cached
	specs map[string][]*buildcache.Spec // by NewIndex: all of a name
	read  map[buildcache.Hash]*buildcache.Spec
}

// A text is an index on this machine, in a file without a name.
type text struct {
	file  *os.File
	graph *index.Graph
}

// NewIndex makes an index of specs that are cached.
func NewIndex(cached []*buildcache.Spec) *Index {
	x := newIndex()
	for _, s := range cached {
		if !x.known[s.Hash] && !s.External {
			x.known[s.Hash] = true
			x.specs[s.Name] = append(x.specs[s.Name], s)
		}
	}
	return x
}

func newIndex() *Index {
	return &Index{named: map[string][]*buildcache.Spec{}, known: map[buildcache.Hash]bool{},
		specs: map[string][]*buildcache.Spec{}, read: map[buildcache.Hash]*buildcache.Spec{}}
}

// Read reads the main indexes of build caches, of both layouts. A cache without any is ErrNoIndex.
// What indexes do not list counts as missing: Spack itself would find it all the same.
func Read(ctx context.Context, stores ...buildcache.Store) (*Index, error) {
	x := newIndex()
	for _, store := range stores {
		before := len(x.texts)
		err := x.addV2(ctx, store)
		if err == nil {
			err = x.addV3(ctx, store)
		}
		if err == nil && len(x.texts) == before {
			err = fmt.Errorf("%w: make one with mage janitor:reindex or spack buildcache update-index", ErrNoIndex)
		}
		if err != nil {
			x.Close()
			return nil, err
		}
	}
	return x, nil
}

// Close gives the files back.
func (x *Index) Close() {
	for _, t := range x.texts {
		t.file.Close()
	}
	x.texts = nil
}

const (
	indexV2     = "build_cache/index.json"
	indexV3     = "v3/manifests/index/index.manifest.json"
	maxManifest = 1 << 20
	maxIndex    = 16 << 30 // bytes: some eight million specs
)

func (x *Index) addV2(ctx context.Context, store buildcache.Store) error {
	body, _, err := store.Get(ctx, indexV2)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		defer body.Close()
		err = x.add(body, "")
	}
	if err != nil {
		return &buildcache.ObjectError{Key: indexV2, Err: err}
	}
	return nil
}

func (x *Index) addV3(ctx context.Context, store buildcache.Store) error {
	body, _, err := store.Get(ctx, indexV3)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return &buildcache.ObjectError{Key: indexV3, Err: err}
	}
	data, err := io.ReadAll(io.LimitReader(body, maxManifest))
	body.Close()
	var blob buildcache.Blob
	if err == nil {
		var m *buildcache.Manifest
		if m, err = buildcache.ParseManifest(data); err == nil {
			blob, err = m.Blob(buildcache.IndexBlob)
		}
	}
	if err == nil && blob.Compression != "none" {
		err = fmt.Errorf("%w: the index is compressed", buildcache.ErrFormat)
	}
	if err != nil {
		return &buildcache.ObjectError{Key: indexV3, Err: err}
	}
	body, _, err = store.Get(ctx, blob.Key())
	if err == nil {
		defer body.Close()
		err = x.add(body, blob.Checksum)
	}
	if err != nil {
		return &buildcache.ObjectError{Key: blob.Key(), Err: err}
	}
	return nil
}

// add reads an index while it is copied to a file; its sha256 must be sum, if that is given.
func (x *Index) add(body io.Reader, sum string) error {
	file, err := os.CreateTemp("", "spacktainers-whymiss-")
	if err != nil {
		return err
	}
	_ = os.Remove(file.Name())
	hash := sha256.New()
	graph, err := index.Read(io.TeeReader(io.LimitReader(body, maxIndex), io.MultiWriter(file, hash)), 0)
	if got := hex.EncodeToString(hash.Sum(nil)); err == nil && sum != "" && got != sum {
		err = fmt.Errorf("%w: not the bytes that its manifest names", buildcache.ErrChecksum)
	}
	if err != nil {
		file.Close()
		return err
	}
	x.texts = append(x.texts, text{file, graph})
	return nil
}

// Has reports whether a cache holds the binary of a spec.
func (x *Index) Has(h buildcache.Hash) bool {
	for _, t := range x.texts {
		if at, ok := t.graph.Lookup(h); ok && t.graph.InCache(at) {
			return true
		}
	}
	return x.known[h]
}

// Knows reports whether an index has the spec as an entry, cached or not.
func (x *Index) Knows(h buildcache.Hash) bool {
	for _, t := range x.texts {
		if at, ok := t.graph.Lookup(h); ok && !t.graph.Missing(at) && !t.graph.External(at) {
			return true
		}
	}
	_, ok := x.known[h]
	return ok
}

// Named returns the specs of a package that are cached, in the order of the indexes.
func (x *Index) Named(name string) ([]*buildcache.Spec, error) {
	if found, ok := x.named[name]; ok {
		return found, nil
	}
	found := x.specs[name]
	for _, t := range x.texts {
		for _, at := range t.graph.Entries() {
			if t.graph.Name(at) != name || !t.graph.InCache(at) || x.read[t.graph.Hash(at)] != nil {
				continue
			}
			s, err := t.spec(at)
			if err != nil {
				return nil, err
			}
			x.read[s.Hash] = s
			found = append(found, s)
		}
	}
	x.named[name] = found
	return found, nil
}

// text returns name@version/hash of a spec if an index has it, cached or external, else "".
func (x *Index) text(h buildcache.Hash, name string) string {
	for _, s := range x.specs[name] {
		if s.Hash == h {
			return s.String()
		}
	}
	for _, t := range x.texts {
		if at, ok := t.graph.Lookup(h); ok && !t.graph.Missing(at) {
			s := buildcache.Spec{Name: t.graph.Name(at), Version: t.graph.VersionOf(at), Hash: h}
			return s.String()
		}
	}
	return ""
}

// spec reads a record again: "HASH":{"spec":{…},…}.
func (t text) spec(at uint32) (*buildcache.Spec, error) {
	offset, size := t.graph.Record(at)
	record := make([]byte, size)
	if _, err := t.file.ReadAt(record, offset); err != nil {
		return nil, err
	}
	var entry map[string]struct {
		Spec json.RawMessage `json:"spec"`
	}
	if err := json.Unmarshal([]byte("{"+string(record)+"}"), &entry); err != nil {
		return nil, fmt.Errorf("%w: index: %s: %w", buildcache.ErrFormat, t.graph.Hash(at), err)
	}
	return buildcache.ParseSpec(entry[string(t.graph.Hash(at))].Spec)
}
