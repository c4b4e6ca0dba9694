package push_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/file"
	"github.com/openbraininstitute/spacktainers/buildcache/push"
)

const fixtures = "../../testdata/spack/"

// newKey makes a pair of keys.
func newKey(t *testing.T) (private, public []byte) {
	t.Helper()
	entity, err := openpgp.NewEntity("Test", "", "test@example.org", nil)
	if err != nil {
		t.Fatal(err)
	}
	armored := func(kind string, serialize func(io.Writer) error) []byte {
		var b bytes.Buffer
		w, err := armor.Encode(&b, kind, nil)
		if err == nil {
			err = errors.Join(serialize(w), w.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	return armored(openpgp.PrivateKeyType, func(w io.Writer) error { return entity.SerializePrivate(w, &packet.Config{}) }),
		armored(openpgp.PublicKeyType, entity.Serialize)
}

// packages returns what a cache that Spack wrote has of a lockfile's specs.
func packages(t *testing.T, fixture string) map[*buildcache.Spec]push.Package {
	t.Helper()
	store, err := file.Open(fixtures + fixture + "/cache")
	if err != nil {
		t.Fatal(err)
	}
	cache, err := buildcache.Open(t.Context(), store, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(fixtures + fixture + "/locks/env-hello.spack.lock")
	if err != nil {
		t.Fatal(err)
	}
	lock, err := buildcache.ParseLockfile(text)
	if err != nil {
		t.Fatal(err)
	}
	var nodes struct {
		Specs map[string]json.RawMessage `json:"concrete_specs"`
	}
	if err := json.Unmarshal(text, &nodes); err != nil {
		t.Fatal(err)
	}
	found := map[*buildcache.Spec]push.Package{}
	for _, spec := range lock.Specs {
		if spec.External {
			continue
		}
		p, err := cache.Find(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		r, err := cache.Open(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		tarball, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		version := map[int]int{2: 4, 3: 5}[p.Layout]
		list := []json.RawMessage{nodes.Specs[string(spec.Hash)]}
		for _, d := range lock.Closure([]buildcache.Hash{spec.Hash}, buildcache.Build|buildcache.Runtime) {
			if d != spec {
				list = append(list, nodes.Specs[string(d.Hash)])
			}
		}
		specFile, err := json.Marshal(map[string]any{"_meta": map[string]int{"version": version}, "nodes": list})
		if err != nil {
			t.Fatal(err)
		}
		found[spec] = push.Package{
			Spec: spec, SpecFile: specFile, Layout: p.Layout, Tarball: bytes.NewReader(tarball), Size: int64(len(tarball)),
			Checksum: p.Checksum, TarballType: buildcache.MediaTypeTarball, SpecType: buildcache.MediaTypeSpec,
		}
	}
	return found
}

func empty(t *testing.T) *file.Store {
	t.Helper()
	store, err := file.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// read reads a package back: its nodes and all of its tarball, verified.
func read(ctx context.Context, store buildcache.Store, keys *buildcache.Keyring, spec *buildcache.Spec) (nodes int, err error) {
	cache, err := buildcache.Open(ctx, store, keys)
	if err != nil {
		return 0, err
	}
	p, err := cache.Find(ctx, spec)
	if err != nil {
		return 0, err
	}
	_, dag, err := cache.Spec(ctx, p)
	if err != nil {
		return 0, err
	}
	r, err := cache.Open(ctx, p)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, r)
	return len(dag), err
}

func TestWhatIsPushedCanBeReadAndVerified(t *testing.T) {
	private, public := newKey(t)
	keys, err := buildcache.ReadKeyring(public)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := push.ReadSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	for _, fixture := range []string{"v2-unsigned", "v3-unsigned"} {
		store := empty(t)
		for spec, p := range packages(t, fixture) {
			if err := push.Push(t.Context(), store, nil, p); err != nil { // an unsigned one is replaced
				t.Fatal(err)
			}
			if _, err := read(t.Context(), store, keys, spec); !errors.Is(err, buildcache.ErrSignature) {
				t.Errorf("%s: unsigned, and got %v", spec, err)
			}
			if err := push.Push(t.Context(), store, signer, p); err != nil {
				t.Fatal(err)
			}
			if nodes, err := read(t.Context(), store, keys, spec); err != nil || nodes == 0 {
				t.Errorf("%s in %s: %d nodes, %v", spec, fixture, nodes, err)
			}
		}
	}
}

// GnuPG is what Spack verifies with.
func TestGnuPGAcceptsOurSignatures(t *testing.T) {
	gpg := newGPG(t)
	signer, err := push.ReadSigner(gpg("--armor", "--export-secret-keys"))
	if err != nil {
		t.Fatal(err)
	}
	for _, fixture := range []string{"v2-unsigned", "v3-unsigned"} {
		dir := t.TempDir()
		store, err := file.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range packages(t, fixture) {
			if err := push.Push(t.Context(), store, signer, p); err != nil {
				t.Fatal(err)
			}
		}
		files := signedFiles(t, dir)
		if len(files) == 0 {
			t.Fatal("nothing is signed")
		}
		for _, path := range files {
			gpg("--verify", path)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(text)) {
				if len(line) > 19000 {
					t.Errorf("%s has a line of %d characters, which GnuPG cuts", path, len(line))
				}
			}
		}
	}
}

func signedFiles(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if strings.HasSuffix(path, ".spec.json.sig") || strings.HasSuffix(path, ".spec.manifest.json") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// A stopping store takes a number of writes and then none.
type stopping struct {
	*file.Store
	left int
}

var errStopped = errors.New("stopped")

func (s *stopping) Put(ctx context.Context, key string, body io.ReaderAt, size int64, opts buildcache.PutOptions) (string, error) {
	if s.left--; s.left < 0 {
		return "", errStopped
	}
	return s.Store.Put(ctx, key, body, size, opts)
}

func (s *stopping) Delete(ctx context.Context, keys []string) error {
	if s.left--; s.left < 0 {
		return errStopped
	}
	return s.Store.Delete(ctx, keys)
}

// Broken off anywhere, a push leaves a package that is whole or none at all, and can be done again.
func TestAPushThatBreaksOffNamesNothingThatIsNotThere(t *testing.T) {
	for _, fixture := range []string{"v2-unsigned", "v3-unsigned"} {
		for spec, p := range packages(t, fixture) {
			for writes := 0; ; writes++ {
				store := &stopping{empty(t), writes}
				err := push.Push(t.Context(), store, nil, p)
				if _, readErr := read(t.Context(), store, nil, spec); readErr != nil && !isAbsent(readErr) {
					t.Errorf("%s in %s after %d writes: %v", spec, fixture, writes, readErr)
				}
				if err == nil {
					break
				}
				store.left = 100
				if err := push.Push(t.Context(), store, nil, p); err != nil {
					t.Errorf("again: %v", err)
				}
				if _, err := read(t.Context(), store, nil, spec); err != nil {
					t.Errorf("again: %v", err)
				}
			}
			break // one of them will do
		}
	}
}

// isAbsent tells a package that is not there from one whose parts are missing.
func isAbsent(err error) bool {
	var object *buildcache.ObjectError
	return errors.Is(err, buildcache.ErrNoCache) || errors.Is(err, buildcache.ErrNotInCache) && !errors.As(err, &object)
}

// An overwriting store is one where another process pushes the same package at the same time.
type overwriting struct {
	*file.Store
	times int
}

func (s *overwriting) Put(ctx context.Context, key string, body io.ReaderAt, size int64, opts buildcache.PutOptions) (string, error) {
	etag, err := s.Store.Put(ctx, key, body, size, opts)
	if s.times > 0 && strings.HasSuffix(key, ".spack") && err == nil {
		s.times--
		_, err = s.Store.Put(ctx, key, strings.NewReader("another tarball"), 15, buildcache.PutOptions{})
	}
	return etag, err
}

func TestTwoPushersLeaveAPairThatFits(t *testing.T) {
	for spec, p := range packages(t, "v2-unsigned") {
		store := &overwriting{empty(t), 2}
		if err := push.Push(t.Context(), store, nil, p); err != nil {
			t.Fatal(err)
		}
		if _, err := read(t.Context(), store, nil, spec); err != nil {
			t.Error(err)
		}
		store.times = 99
		if err := push.Push(t.Context(), store, nil, p); err == nil {
			t.Error("no error where the tarball is never ours")
		}
		break
	}
}

func TestKeysThatCannotSignAreRefusedWithoutRepeatingThem(t *testing.T) {
	_, public := newKey(t)
	for what, text := range map[string]string{
		"nothing": "", "a text": "canary canary", "a cut one": "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\ncanarycanary", "a public key": string(public),
	} {
		_, err := push.ReadSigner([]byte(text))
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got %v", what, err)
		}
	}
}
