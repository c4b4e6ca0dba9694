package gateway

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A Mirror is a build cache that is read.
type Mirror struct {
	Store buildcache.Store
	Keys  *buildcache.Keyring // one of which must have signed each package; nil: none need have
}

// Sources remember, for each binary, the mirror from whose spec file it is taken: a tarball of
// layout v2 has the same name everywhere, and must come from where its spec file comes from.
type sources struct {
	mu sync.Mutex
	of map[buildcache.Hash]*Mirror
}

func (s *sources) set(hash buildcache.Hash, m *Mirror) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[buildcache.Hash]*Mirror{}
	}
	s.of[hash] = m
}

func (s *sources) get(hash buildcache.Hash) *Mirror {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of[hash]
}

// maxSpecFile bounds a spec file or manifest, and a spec blob as it is unpacked. Real ones have
// some MB at most.
const maxSpecFile = 64 << 20

// errNone is what no mirror has, or none that can be trusted.
var errNone = errors.New("no such object")

// serveMirror answers a request for an object of the build caches, which are read and never
// written.
func (s *Session) serveMirror(w http.ResponseWriter, r *http.Request, key string) {
	if !fs.ValidPath(key) || key == "." {
		http.NotFound(w, r)
		return
	}
	ctx, cancel := s.context(r.Context())
	defer cancel()
	body, size, err := s.open(ctx, key)
	switch {
	case errors.Is(err, errNone):
		http.NotFound(w, r)
		return
	case err != nil:
		s.note(fmt.Sprintf("build cache: %s: %v", key, err))
		http.Error(w, "the build cache cannot be read", http.StatusBadGateway)
		return
	}
	defer body.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	if r.Method == http.MethodHead {
		return
	}
	_, _ = io.CopyN(w, body, size) // a reader that is gone, or a short body, which it sees by the length
}

// open returns an object of the first mirror that has it.
func (s *Session) open(ctx context.Context, key string) (io.ReadCloser, int64, error) {
	hash, named := buildcache.KeyHash(key)
	switch {
	case named && isTarball(key):
		return s.openTarball(ctx, hash, key)
	case named:
		text, err := s.openSpec(ctx, hash, key)
		return io.NopCloser(bytes.NewReader(text)), int64(len(text)), err
	}
	for i := range s.Mirrors {
		body, object, err := s.Mirrors[i].Store.Get(ctx, key)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return body, object.Size, err
		}
	}
	return nil, 0, errNone
}

func isTarball(key string) bool { return strings.HasSuffix(key, ".spack") }

// openSpec returns a spec file or manifest that can be trusted.
func (s *Session) openSpec(ctx context.Context, hash buildcache.Hash, key string) ([]byte, error) {
	if s.lock == nil || !s.lock.built[hash] {
		return nil, errNone
	}
	for i := range s.Mirrors {
		text, err := s.Mirrors[i].spec(ctx, s.lock, hash, key)
		var untrusted *untrustedError
		switch {
		case err == nil:
			s.sources.set(hash, &s.Mirrors[i])
			return text, nil
		case errors.As(err, &untrusted):
			s.note(fmt.Sprintf("build cache: %s is not used: %v", path.Base(key), err))
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
	return nil, errNone
}

// openTarball takes a tarball from the mirror whose spec file was taken.
func (s *Session) openTarball(ctx context.Context, hash buildcache.Hash, key string) (io.ReadCloser, int64, error) {
	if s.sources.get(hash) == nil && s.lock != nil && s.lock.Specs[hash] != nil {
		for _, specKey := range buildcache.SpecKeys(s.lock.Specs[hash], 2) {
			if _, err := s.openSpec(ctx, hash, specKey); err == nil {
				break
			}
		}
	}
	m := s.sources.get(hash)
	if m == nil {
		return nil, 0, errNone
	}
	body, object, err := m.Store.Get(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		err = errNone
	}
	return body, object.Size, err
}

// An untrustedError is why an object that is there is not used.
type untrustedError struct{ error }

// spec reads a spec file or manifest, and makes sure that it is signed where that is asked for, is
// about the hash, and says what the lockfile says. It returns it as it is stored.
func (m Mirror) spec(ctx context.Context, l *lock, hash buildcache.Hash, key string) ([]byte, error) {
	stored, err := read(ctx, m.Store, key)
	if err != nil {
		return nil, err
	}
	text := stored
	if m.Keys != nil {
		if text, _, err = m.Keys.Verify(stored); err != nil {
			return nil, &untrustedError{err}
		}
	} else if text, err = buildcache.Unsign(stored); err != nil {
		return nil, &untrustedError{err}
	}
	if strings.HasSuffix(key, manifestSuffix) {
		if text, err = specBlob(ctx, m.Store, text); err != nil {
			return nil, err
		}
	}
	f, err := parseSpecFile(text)
	if err == nil {
		err = l.about(f, hash)
	}
	if err != nil {
		return nil, &untrustedError{err}
	}
	return stored, nil
}

const manifestSuffix = ".spec.manifest.json"

// specBlob reads the spec that a manifest of layout v3 names.
func specBlob(ctx context.Context, store buildcache.Store, manifest []byte) ([]byte, error) {
	m, err := buildcache.ParseManifest(manifest)
	if err != nil {
		return nil, &untrustedError{err}
	}
	_, spec, err := blobs(m)
	if err != nil {
		return nil, &untrustedError{err}
	}
	data, err := read(ctx, store, spec.Key())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &untrustedError{errors.New("its spec blob is missing")}
	}
	if err != nil {
		return nil, err
	}
	text, err := unpackSpec(data, spec)
	if err != nil {
		return nil, &untrustedError{err}
	}
	return text, nil
}

// blobs returns the two blobs of a package.
func blobs(m *buildcache.Manifest) (tarball, spec buildcache.Blob, err error) {
	var tarballs, specs []buildcache.Blob
	for _, b := range m.Blobs {
		switch {
		case strings.HasPrefix(b.MediaType, "application/vnd.spack.install."):
			tarballs = append(tarballs, b)
		case strings.HasPrefix(b.MediaType, "application/vnd.spack.spec."):
			specs = append(specs, b)
		}
	}
	if len(tarballs) != 1 || len(specs) != 1 {
		return tarball, spec, fmt.Errorf("its manifest names %d tarballs and %d specs, want one of each", len(tarballs), len(specs))
	}
	return tarballs[0], specs[0], nil
}

func unpackSpec(data []byte, b buildcache.Blob) ([]byte, error) {
	if sum := sha256.Sum256(data); int64(len(data)) != b.Size || hex.EncodeToString(sum[:]) != b.Checksum {
		return nil, errors.New("its spec blob has another checksum")
	}
	if b.Compression != "gzip" {
		return data, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return bounded(r)
}

func read(ctx context.Context, store buildcache.Store, key string) ([]byte, error) {
	r, _, err := store.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return bounded(r)
}

func bounded(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxSpecFile+1))
	if err == nil && len(data) > maxSpecFile {
		err = fmt.Errorf("longer than %d bytes", maxSpecFile)
	}
	return data, err
}
