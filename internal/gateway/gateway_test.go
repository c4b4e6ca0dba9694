package gateway

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/file"
)

const fixtures = "../../testdata/spack/"

func cacheOf(t *testing.T, dir string) *file.Store {
	t.Helper()
	store, err := file.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func lockOf(t *testing.T, fixture string) []byte {
	t.Helper()
	text, err := os.ReadFile(fixtures + fixture + "/locks/env-hello.spack.lock")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// opened is a session that a test uses as a build does.
type opened struct {
	*Session
	t     *testing.T
	notes []string
}

func open(t *testing.T, b Build) *opened {
	t.Helper()
	g, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	o := &opened{t: t}
	b.Staging, b.Note = t.TempDir(), func(note string) { o.notes = append(o.notes, note) }
	if o.Session, err = g.Open(b); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
	return o
}

// ask sends a request, and returns the status and body of the reply.
func (o *opened) ask(method, path string, body []byte) (int, []byte) {
	o.t.Helper()
	request, err := http.NewRequestWithContext(o.t.Context(), method, o.URL(o.gateway.Addr())+"/", bytes.NewReader(body))
	if err != nil {
		o.t.Fatal(err)
	}
	request.URL.Path += path
	if at := strings.Index(path, "?"); at >= 0 {
		request.URL.Path, request.URL.RawQuery, _ = strings.Cut(request.URL.Path, "?")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		o.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	return response.StatusCode, text
}

func (o *opened) get(path string) (int, []byte) { o.t.Helper(); return o.ask("GET", path, nil) }

func TestATokenIsAllThatOpensAGateway(t *testing.T) {
	o := open(t, Build{Mirrors: []Mirror{{Store: cacheOf(t, fixtures+"v2-unsigned/cache")}}})
	if status, text := o.get(""); status != 200 || string(text) != `{"mirror":true,"push":false,"git":[]}`+"\n" {
		t.Errorf("got %d %s", status, text)
	}
	for _, path := range []string{"/", "/x/", "/" + strings.ToLower(o.token) + "/", "/" + o.token[:10] + "/", "//mirror/build_cache/index.json"} {
		response, err := http.Get("http://" + o.gateway.Addr() + path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != 404 {
			t.Errorf("%s: got %s", path, response.Status)
		}
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if status, _ := o.get(""); status != 404 {
		t.Errorf("got %d after the session", status)
	}
}

// The build cache is read and not written, and nothing beside it is read.
func TestAMirrorIsReadOnly(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"cache/build_cache/index.json": "{}", "secret": "canary"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	o := open(t, Build{Mirrors: []Mirror{{Store: cacheOf(t, dir+"/cache")}}})
	if status, text := o.get("mirror/build_cache/index.json"); status != 200 || string(text) != "{}" {
		t.Errorf("got %d %s", status, text)
	}
	if status, text := o.ask("HEAD", "mirror/build_cache/index.json", nil); status != 200 || len(text) > 0 {
		t.Errorf("got %d %s", status, text)
	}
	for _, path := range []string{"../secret", "build_cache/../../secret", "/secret", "", ".", "build_cache", "build_cache/", dir + "/secret"} {
		if status, text := o.get("mirror/" + path); status == 200 || bytes.Contains(text, []byte("canary")) {
			t.Errorf("%s: got %d %s", path, status, text)
		}
	}
	for _, method := range []string{"PUT", "POST", "DELETE", "PATCH", "COPY"} {
		if status, _ := o.ask(method, "mirror/build_cache/index.json", []byte("x")); status != 403 {
			t.Errorf("%s: got %d", method, status)
		}
	}
	if status, _ := o.ask("PUT", "packages/build_cache/x.spack", []byte("x")); status != 403 {
		t.Errorf("a build without a destination pushes: %d", status)
	}
	if text, err := os.ReadFile(dir + "/cache/build_cache/index.json"); err != nil || string(text) != "{}" {
		t.Errorf("got %s, %v", text, err)
	}
}

func keyring(t *testing.T, path string) *buildcache.Keyring {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := buildcache.ReadKeyring(text)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// copyOf copies a cache, so that a test can damage it.
func copyOf(t *testing.T, fixture string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(fixtures+fixture+"/cache")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// helloKeys returns where Spack puts the spec files of hello-spack.
func helloKeys(t *testing.T, text []byte, layout int) (*buildcache.Spec, []string) {
	t.Helper()
	lock, err := buildcache.ParseLockfile(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range lock.Specs {
		if spec.Name == "hello-spack" {
			return spec, buildcache.SpecKeys(spec, layout)
		}
	}
	t.Fatal("no hello-spack")
	return nil, nil
}

func TestOnlySignedPackagesAreHandedOutWhereAKeyIsAskedFor(t *testing.T) {
	for fixture, layout := range map[string]int{"v2-signed": 2, "v3-signed": 3} {
		text := lockOf(t, fixture)
		_, keys := helloKeys(t, text, layout)
		right := keyring(t, quickstartKey(t, fixture))
		o := open(t, Build{Lock: text, Mirrors: []Mirror{{cacheOf(t, fixtures+fixture+"/cache"), right}}})
		if status, _ := o.get("mirror/" + keys[0]); status != 200 {
			t.Errorf("%s: got %d %v", fixture, status, o.notes)
		}
		_, other := newKeys(t)
		o = open(t, Build{Lock: text, Mirrors: []Mirror{{cacheOf(t, fixtures+fixture+"/cache"), other}}})
		if status, _ := o.get("mirror/" + keys[0]); status != 404 || len(o.notes) != 1 || !strings.Contains(o.notes[0], "signature") {
			t.Errorf("%s, another key: got %d %v", fixture, status, o.notes)
		}
		unsigned := strings.Replace(fixture, "signed", "unsigned", 1)
		text = lockOf(t, unsigned)
		_, keys = helloKeys(t, text, layout)
		o = open(t, Build{Lock: text, Mirrors: []Mirror{{cacheOf(t, fixtures+unsigned+"/cache"), right}}})
		if status, _ := o.get("mirror/" + keys[len(keys)-1]); status != 404 {
			t.Errorf("%s: got %d", unsigned, status)
		}
	}
}

// quickstartKey finds the public key of a signed cache.
func quickstartKey(t *testing.T, fixture string) string {
	t.Helper()
	for _, pattern := range []string{"/cache/build_cache/_pgp/*.pub", "/*.pub", "/../v2-signed/cache/build_cache/_pgp/*.pub"} {
		if found, _ := filepath.Glob(fixtures + fixture + pattern); len(found) > 0 {
			return found[0]
		}
	}
	t.Fatal("no key")
	return ""
}

// A spec file that says anything else than the lockfile, under an honest name, is not handed out,
// and its tarball is not.
func TestASpecFileThatSaysElseThanTheLockfileIsNotHandedOut(t *testing.T) {
	text := lockOf(t, "v2-unsigned")
	spec, keys := helloKeys(t, text, 2)
	dir := copyOf(t, "v2-unsigned")
	path := filepath.Join(dir, keys[1])
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for what, replace := range map[string][2]string{
		"another version":    {`"version":"1.1"`, `"version":"6.6"`},
		"another package":    {string(spec.Hash), strings.Repeat("a", 32)},
		"a dependency less":  {`"name":"qs-block"`, `"name":"qs-blocc"`},
		"another edge":       {`"link"`, `"run"`},
		"another namespace":  {`"namespace":"quickstart"`, `"namespace":"builtin"`},
		"an external":        {`"namespace":"quickstart"`, `"namespace":"quickstart","external":{"path":"/usr"}`},
		"another parameter":  {`"build_system":"generic"`, `"build_system":"cmake"`},
		"another definition": {`"package_hash":"`, `"package_hash":"x`},
		"nothing":            {`{`, `x{`},
	} {
		changed := bytes.Replace(bytes.ReplaceAll(sound, []byte("\":\n"), []byte("\":")), []byte(replace[0]), []byte(replace[1]), 1)
		if bytes.Equal(changed, sound) || !bytes.Contains(changed, []byte(replace[1])) {
			t.Fatalf("%s: the fixture has no %s", what, replace[0])
		}
		if err := os.WriteFile(path, changed, 0o644); err != nil {
			t.Fatal(err)
		}
		o := open(t, Build{Lock: text, Mirrors: []Mirror{{Store: cacheOf(t, dir)}}})
		if status, _ := o.get("mirror/" + keys[1]); status != 404 {
			t.Errorf("%s: got %d", what, status)
		}
		if status, _ := o.get("mirror/" + buildcache.TarballKey(spec)); status != 404 {
			t.Errorf("%s: the tarball: got %d", what, status)
		}
	}
}

// A branch's build cache has the same names as the release's: a tarball comes from where its spec
// file comes from.
func TestATarballComesFromWhereItsSpecFileDoes(t *testing.T) {
	text := lockOf(t, "v2-unsigned")
	spec, keys := helloKeys(t, text, 2)
	release, branch := copyOf(t, "v2-unsigned"), copyOf(t, "v2-unsigned")
	tarball := buildcache.TarballKey(spec)
	if err := os.WriteFile(filepath.Join(release, tarball), []byte("of a release"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, other := newKeys(t) // by which nothing of the release is signed
	o := open(t, Build{Lock: text, Mirrors: []Mirror{{cacheOf(t, release), other}, {Store: cacheOf(t, branch)}}})
	for range 2 { // before and after its spec file has been asked for
		if status, body := o.get("mirror/" + tarball); status != 200 || string(body) == "of a release" {
			t.Errorf("got %d %.20s", status, body)
		}
		if status, _ := o.get("mirror/" + keys[1]); status != 200 {
			t.Errorf("got %d", status)
		}
	}
}

func mustParse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
