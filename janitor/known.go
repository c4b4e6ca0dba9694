package janitor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Known remembers which blobs a manifest names, by the manifest's ETag, so that
// a scan reads only those that are new. It only saves work: without its file,
// or with one that cannot be read, everything is read.
type Known struct {
	path string
	mu   sync.Mutex
	old  map[string]knownManifest
	used map[string]knownManifest // what this run has seen: the rest is forgotten

	indexes map[string]*entries // by checksum: a run reads the same index several times
}

type knownManifest struct {
	ETag  string            `json:"etag"`
	Size  int64             `json:"size"`
	Blobs []buildcache.Blob `json:"blobs"`
}

// OpenKnown reads the file of one mirror. Without a path it remembers only
// while it lives.
func OpenKnown(path string) *Known {
	k := &Known{path: path, old: map[string]knownManifest{}, used: map[string]knownManifest{}, indexes: map[string]*entries{}}
	if path == "" {
		return k
	}
	data, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(data, &k.old) != nil {
		k.old = map[string]knownManifest{}
	}
	return k
}

// Save writes the file anew, with what this run has seen.
func (k *Known) Save() error {
	if k.path == "" {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	data, err := json.Marshal(k.used)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(k.path), 0o755); err != nil {
		return fmt.Errorf("known manifests: %w", err)
	}
	temp := k.path + ".new"
	if err := os.WriteFile(temp, data, 0o644); err != nil {
		return fmt.Errorf("known manifests: %w", err)
	}
	if err := os.Rename(temp, k.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("known manifests: %w", err)
	}
	return nil
}

// entries is parseEntries for an index that may have been read before.
func (k *Known) entries(data []byte) (*entries, error) {
	if k == nil {
		return parseEntries(data)
	}
	sum := checksum(data)
	k.mu.Lock()
	e := k.indexes[sum]
	k.mu.Unlock()
	if e != nil {
		return e, nil
	}
	e, err := parseEntries(data)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.indexes) >= maxIndexes {
		clear(k.indexes)
	}
	k.indexes[sum] = e
	return e, nil
}

// maxIndexes is how many indexes are remembered while a run lasts.
const maxIndexes = 4

func (k *Known) get(o buildcache.Object) ([]buildcache.Blob, bool) {
	if k == nil || o.ETag == "" {
		return nil, false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	m, ok := k.used[o.Key]
	if !ok {
		m, ok = k.old[o.Key]
	}
	if !ok || m.ETag != o.ETag || m.Size != o.Size || !whole(m.Blobs) {
		return nil, false
	}
	k.used[o.Key] = m
	return m.Blobs, true
}

// whole looks at what a manifest's blobs must have: the file may be anything.
func whole(blobs []buildcache.Blob) bool {
	for _, b := range blobs {
		if len(b.Checksum) != 64 || !isBlob(b.Key()) {
			return false
		}
	}
	return len(blobs) > 0
}

func (k *Known) put(o buildcache.Object, blobs []buildcache.Blob) {
	if k == nil || o.ETag == "" {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.used[o.Key] = knownManifest{o.ETag, o.Size, blobs}
}
