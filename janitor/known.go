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
}

type knownManifest struct {
	ETag  string            `json:"etag"`
	Size  int64             `json:"size"`
	Blobs []buildcache.Blob `json:"blobs"`
}

// OpenKnown reads the file of one mirror.
func OpenKnown(path string) *Known {
	k := &Known{path: path, old: map[string]knownManifest{}, used: map[string]knownManifest{}}
	data, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(data, &k.old) != nil {
		k.old = map[string]knownManifest{}
	}
	return k
}

// Save writes the file anew, with what this run has seen.
func (k *Known) Save() error {
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
