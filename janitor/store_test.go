package janitor_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A memory is a mirror in a map, with hooks to make it fail. One hook is called
// at a time, though requests go side by side; a hook must not ask this memory
// as a janitor does, but what plain returns.
type memory struct {
	hooking sync.Mutex
	mu      *sync.Mutex // of what follows
	objects map[string]stored
	clock   func() time.Time
	writes  int                          // how often anything was changed
	before  func(what, key string) error // called before each write, outside of the lock
	reading func(key string) error       // called before each Get
	hide    func(key string) bool        // keys that List leaves out
	cut     func(prefix string) error    // ends a listing half way
	stuck   func(key string) error       // keys that Delete fails for
	ignores bool                         // conditions, as some servers do
}

type stored struct {
	data []byte
	etag string
	at   time.Time
}

func newMemory(clock func() time.Time) *memory {
	return &memory{mu: new(sync.Mutex), objects: map[string]stored{}, clock: clock}
}

// plain returns the same mirror without hooks.
func (m *memory) plain() *memory { return &memory{mu: m.mu, objects: m.objects, clock: m.clock} }

// cutOff asks whether a listing ends here.
func (m *memory) cutOff(prefix string) error {
	m.hooking.Lock()
	defer m.hooking.Unlock()
	if m.cut == nil {
		return nil
	}
	return m.cut(prefix)
}

func (m *memory) read(key string) error {
	m.hooking.Lock()
	defer m.hooking.Unlock()
	if m.reading == nil {
		return nil
	}
	return m.reading(key)
}

func (m *memory) List(ctx context.Context, prefix string) iter.Seq2[buildcache.Object, error] {
	return func(yield func(buildcache.Object, error) bool) {
		m.mu.Lock()
		var all []buildcache.Object
		for key, s := range m.objects {
			if strings.HasPrefix(key, prefix) && (m.hide == nil || !m.hide(key)) {
				all = append(all, buildcache.Object{Key: key, Size: int64(len(s.data)), ETag: s.etag, ModTime: s.at})
			}
		}
		m.mu.Unlock()
		slices.SortFunc(all, func(a, b buildcache.Object) int { return strings.Compare(a.Key, b.Key) })
		for i, o := range all {
			if i == len(all)/2 {
				if err := m.cutOff(prefix); err != nil {
					yield(buildcache.Object{}, err)
					return
				}
			}
			if !yield(o, ctx.Err()) {
				return
			}
		}
	}
}

func (m *memory) Get(ctx context.Context, key string) (io.ReadCloser, buildcache.Object, error) {
	if err := m.read(key); err != nil {
		return nil, buildcache.Object{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.objects[key]
	if !ok {
		return nil, buildcache.Object{}, fmt.Errorf("get %s: %w", key, fs.ErrNotExist)
	}
	return io.NopCloser(bytes.NewReader(s.data)), buildcache.Object{Key: key, Size: int64(len(s.data)), ETag: s.etag, ModTime: s.at}, ctx.Err()
}

func (m *memory) Put(ctx context.Context, key string, body io.ReaderAt, size int64, opts buildcache.PutOptions) (string, error) {
	if err := m.write("put", key); err != nil {
		return "", err
	}
	data := make([]byte, size)
	if _, err := body.ReadAt(data, 0); err != nil && err != io.EOF {
		return "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old, there := m.objects[key]
	if m.ignores {
		opts.Condition = buildcache.Condition{}
	}
	if opts.IfNoneMatch && there || opts.IfMatch != "" && (!there || old.etag != opts.IfMatch) {
		return "", fmt.Errorf("put %s: %w", key, buildcache.ErrChanged)
	}
	return m.store(key, data, m.clock()), ctx.Err()
}

func (m *memory) Copy(ctx context.Context, from, to string) error {
	if err := m.write("copy", to); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.objects[from]
	if !ok {
		return fmt.Errorf("copy %s: %w", from, fs.ErrNotExist)
	}
	m.store(to, s.data, m.clock())
	return ctx.Err()
}

func (m *memory) Delete(ctx context.Context, keys []string) error {
	var failed []buildcache.ObjectError
	for _, key := range keys {
		err := m.write("delete", key)
		if err != nil {
			failed = append(failed, buildcache.ObjectError{Key: key, Err: err})
			continue
		}
		m.mu.Lock()
		delete(m.objects, key)
		m.mu.Unlock()
	}
	if failed != nil {
		return &buildcache.DeleteError{Failed: failed}
	}
	return ctx.Err()
}

func (m *memory) write(what, key string) error {
	m.mu.Lock()
	m.writes++
	m.mu.Unlock()
	m.hooking.Lock()
	defer m.hooking.Unlock()
	if m.before != nil {
		if err := m.before(what, key); err != nil {
			return err
		}
	}
	if what == "delete" && m.stuck != nil {
		return m.stuck(key)
	}
	return nil
}

// store puts an object, as if Spack or somebody else did. The ETag is that of
// S3: the same bytes have the same.
func (m *memory) store(key string, data []byte, at time.Time) string {
	sum := sha256.Sum256(data)
	m.objects[key] = stored{data, hex.EncodeToString(sum[:8]), at}
	return m.objects[key].etag
}

func (m *memory) set(key string, data []byte, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.store(key, data, at)
}

func (m *memory) remove(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, key)
}

func (m *memory) data(key string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.objects[key].data
}

// contents returns what the mirror holds, the janitor's own aside.
func (m *memory) contents() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[string]string{}
	for key, s := range m.objects {
		if !strings.HasPrefix(key, ".spacktainers/") {
			all[key] = string(s.data)
		}
	}
	return all
}

func (m *memory) clone() *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &memory{mu: new(sync.Mutex), objects: maps.Clone(m.objects), clock: m.clock}
}

// now is when the tests take place; old is when the bundled caches were pushed.
var (
	now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	old = now.Add(-200 * day)
)

const day = 24 * time.Hour

// loaded returns a bundled cache in memory, pushed long ago.
func loaded(t testing.TB, name string) *memory {
	t.Helper()
	m := newMemory(func() time.Time { return now })
	load(t, m, name)
	return m
}

func load(t testing.TB, m *memory, name string) {
	t.Helper()
	dir := filepath.Join("..", "testdata", "spack", name, "cache")
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		key, _ := filepath.Rel(dir, path)
		m.set(filepath.ToSlash(key), data, old)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
