package sifstore

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/file"
	"github.com/openbraininstitute/spacktainers/internal/sif"
	"github.com/openbraininstitute/spacktainers/internal/slurm"
)

// honest is the text of a manifest with one release for amd64, as an upload leaves it, and the
// store that holds it.
func honest(t testing.TB) (store *file.Store, text []byte) {
	t.Helper()
	store = file.New(t.TempDir())
	f := sif.Folder(t.TempDir())
	upload(t, store, f, fake(t, f, "tool", "1.0", "", "amd64", []byte("content")), today)
	text, err := os.ReadFile(filepath.Join(store.String(), "tool.json"))
	if err != nil {
		t.Fatal(err)
	}
	return store, text
}

// Each field of a manifest that could lead out of the folder, into a script or onto a screen.
func TestHostileManifestsAreRefused(t *testing.T) {
	type object = map[string]any
	first := func(m object) object { return m["files"].([]any)[0].(object) }
	both := func(field string, value any) func(object) {
		return func(m object) {
			first(m)[field] = value
			if newest := m["newest"].(object)["linux/amd64"].(object); newest[field] != nil {
				newest[field] = value
			}
		}
	}
	for name, change := range map[string]func(object){
		"file above":           both("file", "../tool__1.0.sif"),
		"file elsewhere":       both("file", "/etc/cron.d/x"),
		"file in a folder":     both("file", "x/tool__1.0.sif"),
		"file with a newline":  both("file", "tool__1.0.sif\n"),
		"file of another name": both("file", "tool.json"),
		"file empty":           both("file", ""),
		"name above":           func(m object) { m["name"] = "../tool"; first(m)["name"] = "../tool" },
		"name of another":      func(m object) { first(m)["name"] = "other" },
		"version above":        both("version", "../../../../etc/x"),
		"version with newline": both("version", "1.0\nos.execute('id')"),
		"version empty":        both("version", ""),
		"version long":         both("version", strings.Repeat("1", 1000)),
		"version option":       both("version", "-1.0"),
		"branch with escape":   both("branch", "x\x1b[2J"),
		"branch turned round":  both("branch", "x\u202e"),
		"platform above":       both("platform", "linux/../../x"),
		"platform unknown":     both("platform", "windows/amd64"),
		"platform short":       both("platform", "amd64"),
		"digest of Lua":        both("digest", "sha256:x\nos.execute('id')"),
		"digest short":         both("digest", "sha256:00"),
		"digest empty":         both("digest", ""),
		"sha256 short":         both("sha256", "00"),
		"sha256 of capitals":   both("sha256", strings.Repeat("A", 64)),
		"sha256 of a path":     both("sha256", "../../"+strings.Repeat("a", 58)),
		"size negative":        both("size", -1),
		"size endless":         both("size", int64(1)<<62),
		"kind with a command":  both("kind", "\n::error::x"),
		"source with escape":   both("source", "\x1b]0;x\x07"),
		"build key long":       both("build_key", strings.Repeat("x", 1<<16)),
		"lock of bytes":        both("lock", "\x00"),
		"engine of lines":      both("engine", "a\rb"),
		"compression odd":      both("compression", "a\tb"),
		"signed by a newline":  both("signed_by", "A\nB"),
		"sequence negative":    func(m object) { m["sequence"] = -1 },
		"twice":                func(m object) { m["files"] = []any{first(m), first(m)} },
		"newest above":         func(m object) { m["newest"].(object)["linux/amd64"].(object)["file"] = "../x.sif" },
		"newest of Lua":        func(m object) { m["newest"].(object)["linux/amd64"].(object)["version"] = "1.0/../../x" },
		"newest elsewhere":     func(m object) { m["newest"].(object)["../../x"] = m["newest"].(object)["linux/amd64"] },
		"newest not in it":     func(m object) { m["files"] = []any{} },
		"files a number":       func(m object) { m["files"] = 1 },
		"uploaded a text":      both("uploaded", "yesterday"),
		"many":                 func(m object) { m["files"] = slicesOf(maxEntries+1, object{}) },
		"long":                 func(m object) { m["more"] = strings.Repeat("x", maxManifest) },
	} {
		t.Run(name, func(t *testing.T) {
			store, text := honest(t)
			var m object
			if err := json.Unmarshal(text, &m); err != nil {
				t.Fatal(err)
			}
			change(m)
			text, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			refused(t, store, text)
		})
	}
	for name, text := range map[string]string{
		"empty": "", "no JSON": "{", "a list": "[]", "deep": strings.Repeat("[", 1<<20), "null": "null", "two": `{"name":"tool"}{"name":"tool"}`, "a page": "<html>",
	} {
		t.Run(name, func(t *testing.T) {
			store, _ := honest(t)
			refused(t, store, []byte(text))
		})
	}
}

func slicesOf(n int, value any) (all []any) {
	for range n {
		all = append(all, value)
	}
	return all
}

// refused tries a manifest in each way that leads to it.
func refused(t *testing.T, store *file.Store, text []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(store.String(), "tool.json"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "disk")
	f := sif.Folder(t.TempDir())
	_, all := Installer{From: store, Dir: dir}.Plan(t.Context())
	_, named := Installer{From: store, Dir: dir, Names: []string{"tool"}}.Plan(t.Context())
	_, near := Installer{From: store, Dir: dir, Names: []string{"tol"}}.Plan(t.Context())
	_, sent := Uploader{From: f, To: store, Now: timeOf(today)}.Plan(t.Context(), fake(t, f, "tool", "2.0", "", "amd64", []byte("x")))
	_, cleaned := NewCleaning(t.Context(), store, Keys{}, Retention{Branches: []string{"main"}, KeepLast: 1, Now: today})
	_, local := Installer{From: otherStore(t), Dir: store.String()}.Plan(t.Context())
	for way, err := range map[string]error{"install": all, "install by name": named, "near names": near, "upload": sent, "clean": cleaned, "install onto it": local} {
		if err == nil {
			t.Errorf("%s: accepted", way)
			continue
		}
		if strings.ContainsFunc(err.Error(), unicode.IsControl) || len(err.Error()) > 4000 || !strings.Contains(err.Error(), "tool.json") {
			t.Errorf("%s: the error is no line for a screen that names the file: %.300q", way, err)
		}
	}
	if _, err := os.Lstat(dir); err == nil {
		t.Error("the folder was made")
	}
}

func otherStore(t *testing.T) *file.Store {
	store, _ := honest(t)
	return store
}

// A hostileStore answers what its functions say.
type hostileStore struct {
	Store
	list func(yield func(buildcache.Object, error) bool)
	get  func(key string) (io.Reader, int64)
}

func (s hostileStore) String() string { return "hostile" }

func (s hostileStore) List(context.Context, string) iter.Seq2[buildcache.Object, error] {
	return s.list
}

func (s hostileStore) Get(_ context.Context, key string) (io.ReadCloser, buildcache.Object, error) {
	body, size := s.get(key)
	if body == nil {
		return nil, buildcache.Object{}, fs.ErrNotExist
	}
	return io.NopCloser(body), buildcache.Object{Key: key, Size: size, ETag: "x"}, nil
}

// An endless reader never ends.
type endless struct{ read int64 }

func (e *endless) Read(p []byte) (int, error) {
	if e.read > 64<<20 { // so that a test ends whose bound does not hold
		return 0, io.EOF
	}
	for i := range p {
		p[i] = ' '
	}
	e.read += int64(len(p))
	return len(p), nil
}

func TestEndlessListingsEnd(t *testing.T) {
	for name, key := range map[string]func(i int) string{
		"files":      func(i int) string { return fmt.Sprintf("f%d", i) },
		"manifests":  func(i int) string { return fmt.Sprintf("f%d.json", i) },
		"one file":   func(int) string { return "x/y" },
		"on its way": func(i int) string { return fmt.Sprintf("incoming/%d", i) },
	} {
		t.Run(name, func(t *testing.T) {
			listed := 0
			store := hostileStore{
				list: func(yield func(buildcache.Object, error) bool) {
					for listed = 0; listed < 3*maxKeys && yield(buildcache.Object{Key: key(listed), Size: maxManifest}, nil); listed++ {
					}
				},
				get: func(string) (io.Reader, int64) { return nil, 0 },
			}
			if _, err := (Installer{From: store, Dir: t.TempDir()}).Plan(t.Context()); err == nil || !strings.Contains(err.Error(), "more than") {
				t.Errorf("got %v", err)
			}
			most := maxObjects // beside each other, which are kept
			if name == "one file" {
				most = maxKeys
			}
			if listed > most {
				t.Errorf("%d keys were listed, more than %d", listed, most)
			}
			if _, there, err := stat(t.Context(), store, "never"); there || err != nil || listed > 1000 {
				t.Errorf("stat: %v, %v after %d keys", there, err, listed)
			}
		})
	}
}

func TestManifestsOfTooManyBytesAreNotRead(t *testing.T) {
	asked := 0
	store := hostileStore{
		list: func(yield func(buildcache.Object, error) bool) {
			for i := 0; i <= maxRead/maxManifest && yield(buildcache.Object{Key: fmt.Sprintf("f%d.json", i), Size: maxManifest}, nil); i++ {
			}
		},
		get: func(key string) (io.Reader, int64) {
			asked++
			text := fmt.Sprintf(`{"name":%q,"newest":{},"files":[]}`, strings.TrimSuffix(key, ".json"))
			return strings.NewReader(text), int64(len(text))
		},
	}
	if _, err := readCatalogue(t.Context(), store, Keys{}); err == nil || !strings.Contains(err.Error(), "have more than 256 MB") || asked > maxRead/maxManifest {
		t.Errorf("%d were read: %v", asked, err)
	}
}

// Two bytes of text become hundreds in memory: entries are counted before they are read.
func TestManifestsOfManyEntriesAreNotRead(t *testing.T) {
	text := []byte(`{"name":"tool","newest":{},"files":[{}` + strings.Repeat(",{}", maxEntries) + `]}`)
	if _, err := parseManifest(text, Keys{}, "tool"); err == nil || !strings.Contains(err.Error(), "entries are no manifest") {
		t.Errorf("got %v", err)
	}
}

func TestKeysThatAreNoNamesAreLeftAlone(t *testing.T) {
	store, _ := honest(t)
	for _, key := range []string{"..json", "A.json", "a b.json", "\x1b[2J.json", "a\n.json", "..__1.sif", "a__1\x1b.sif", "-rf__1.0.sif"} {
		if err := os.WriteFile(filepath.Join(store.String(), key), []byte("{"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	install(t, Installer{From: store, Dir: t.TempDir()}, map[string]string{"tool__1.0.sif": StateNew})
	plan, err := NewCleaning(t.Context(), store, Keys{}, Retention{Branches: []string{"main"}, KeepLast: 1, Now: today.AddDate(1, 0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range plan.Lines {
		if line.Remove {
			t.Errorf("%q would be removed", line.File)
		}
	}
}

// What has more bytes than its manifest says is no reason to fill a disk.
func TestAnEndlessSIFEnds(t *testing.T) {
	_, text := honest(t)
	sifBody := &endless{}
	store := hostileStore{get: func(key string) (io.Reader, int64) {
		if key == "tool.json" {
			return bytes.NewReader(text), int64(len(text))
		}
		return sifBody, int64(len("content"))
	}}
	dir := t.TempDir()
	in := Installer{From: store, Dir: dir, Names: []string{"tool"}}
	plan, err := in.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Apply(t.Context(), plan); err == nil || !strings.Contains(err.Error(), "more bytes of it") {
		t.Errorf("got %v", err)
	}
	if sifBody.read > 1<<20 {
		t.Errorf("%d bytes were read of a SIF that has 7", sifBody.read)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "*"))
	inside, _ := filepath.Glob(filepath.Join(dir, "*", "*"))
	if len(left) != 1 || len(inside) != 0 {
		t.Errorf("left over: %q, %q", left, inside)
	}
	manifest := &endless{}
	store.get = func(string) (io.Reader, int64) { return manifest, 1 }
	in.From = store
	if _, err := in.Plan(t.Context()); err == nil || manifest.read > 2*maxManifest {
		t.Errorf("%d bytes of a manifest were read: %v", manifest.read, err)
	}
}

// FuzzManifest looks for a manifest that is accepted and yet leads out of the folder or into
// another line of a module.
func FuzzManifest(f *testing.F) {
	_, text := honest(f)
	f.Add(text)
	f.Add(bytes.ReplaceAll(text, []byte("1.0"), []byte("git.feature/x=1.0")))
	f.Add(bytes.ReplaceAll(text, []byte("tool__1.0.sif"), []byte("../tool__1.0.sif")))
	f.Add([]byte(`{"name":"tool","files":null,"newest":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parseManifest(text, Keys{}, "tool")
		if err != nil {
			return
		}
		for _, s := range m.Files {
			if path.Base(s.File) != s.File || !filepath.IsLocal(s.File) || !strings.HasSuffix(s.File, ".sif") || !strings.HasPrefix(s.File, "tool__") {
				t.Errorf("file %q", s.File)
			}
			if shown := s.File + s.Version + s.Branch + s.Platform + s.Kind + s.Engine + s.Source; strings.ContainsFunc(shown, unicode.IsControl) {
				t.Errorf("%q goes to the screen", shown)
			}
		}
		for _, latest := range m.Newest {
			module := slurm.Module{Container: m.Name, Version: latest.Version, Digest: latest.Digest, SIF: "/x/" + latest.File}.Lua()
			if strings.Count(module, "\n") != 6 {
				t.Errorf("the module has other lines:\n%s", module)
			}
		}
	})
}
