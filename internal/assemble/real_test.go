package assemble

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// An installed file is an entry of an image's file system.
type installed struct {
	header tar.Header
	data   []byte
}

// contentsOf returns what is below a folder of an image, by path relative to it.
func contentsOf(t *testing.T, img v1.Image, root string) map[string]installed {
	t.Helper()
	body := mutate.Extract(img)
	defer body.Close()
	found := map[string]installed{}
	r := tar.NewReader(body)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		name, ok := strings.CutPrefix(strings.Trim(h.Name, "/"), root+"/")
		if !ok {
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		found[name] = installed{*h, data}
	}
}

// viewLines is a view as "find -printf '%y %p -> %l'" shows it.
func viewLines(t *testing.T, img v1.Image) []string {
	t.Helper()
	lines := []string{"d . -> "}
	for name, f := range contentsOf(t, img, "opt/view") {
		kind := map[byte]string{tar.TypeDir: "d", tar.TypeSymlink: "l", tar.TypeReg: "f"}[f.header.Typeflag]
		lines = append(lines, fmt.Sprintf("%s ./%s -> %s", kind, name, f.header.Linkname))
	}
	slices.Sort(lines)
	return lines
}

// softwareLines is the install tree as software.txt in testdata has it.
func softwareLines(t *testing.T, img v1.Image) []string { return detailedLines(t, img, "opt/software") }

// detailedLines is a folder with the modes and digests of its files.
func detailedLines(t *testing.T, img v1.Image, root string) []string {
	t.Helper()
	tree := contentsOf(t, img, root)
	var lines []string
	for name, f := range tree {
		switch {
		case name == "bin" || name == "bin/sbang":
		case f.header.Typeflag == tar.TypeDir:
			lines = append(lines, "d "+name)
		case f.header.Typeflag == tar.TypeSymlink:
			lines = append(lines, "l "+name+" -> "+f.header.Linkname)
		case strings.HasSuffix(name, "install_times.json"), strings.HasSuffix(name, "sbom/spdx-2.3.json"):
			lines = append(lines, "f "+name)
		default:
			if f.header.Typeflag == tar.TypeLink {
				f = tree[strings.TrimPrefix(f.header.Linkname, root+"/")]
			}
			sum := sha256.Sum256(f.data)
			lines = append(lines, fmt.Sprintf("f %s %o %s", name, f.header.Mode&0o777, hex.EncodeToString(sum[:])))
		}
	}
	slices.Sort(lines)
	return lines
}

// compare reports lines that one list has and the other has not.
func compare(t *testing.T, what string, got []string, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	slices.Sort(want)
	if len(want) < 10 {
		t.Fatalf("%s has %d lines", file, len(want))
	}
	for _, line := range want {
		if _, ok := slices.BinarySearch(got, line); !ok {
			t.Errorf("%s: Spack has   %s", what, line)
		}
	}
	for _, line := range got {
		if _, ok := slices.BinarySearch(want, line); !ok {
			t.Errorf("%s: the image has %s", what, line)
		}
	}
}

// In python-1.3 there are also a package with links to folders, to itself and into another one,
// hard links, names that are not ASCII, and two packages with one file.
func TestPythonsViewIsSpacks(t *testing.T) {
	for _, name := range []string{"python", "python-1.3"} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join("testdata", name)
			b := newBench(t, filepath.Join(dir, "cache"))
			img := b.open(b.mustBuild(b.container(filepath.Join(dir, "spack.lock"))))
			compare(t, "view", viewLines(t, img), filepath.Join(dir, "view.txt"))
			compare(t, "software", softwareLines(t, img), filepath.Join(dir, "software.txt"))
			view := contentsOf(t, img, "opt/view")
			if got := string(view["bin/py-zzv-tool"].data); !strings.HasPrefix(got, "#!/opt/view/bin/python3\n") || view["bin/py-zzv-tool"].header.Mode != 0o755 {
				t.Errorf("bin/py-zzv-tool has mode %o and begins %.60q", view["bin/py-zzv-tool"].header.Mode, got)
			}
			if got := string(view["bin/activate"].data); !strings.Contains(got, "VIRTUAL_ENV=/opt/view\n") || strings.Contains(got, "/opt/software/") {
				t.Errorf("bin/activate is not the view's: %q", got)
			}
			config, err := img.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			if want := "PYTHONPATH=/opt/view/lib/python3.11/site-packages"; !slices.Contains(config.Config.Env, want) {
				t.Errorf("environment %q lacks %s", config.Config.Env, want)
			}
		})
	}
}

func TestSplicedPackagesAreRewiredAsSpackDoes(t *testing.T) {
	b := newBench(t, "testdata/splice/cache")
	result := b.mustBuild(b.container("testdata/splice/spack.lock"))
	img := b.open(result)
	compare(t, "view", viewLines(t, img), "testdata/splice/view.txt")
	compare(t, "software", softwareLines(t, img), "testdata/splice/software.txt")
	if len(result.Conflicts) != 1 || !strings.Contains(result.Conflicts[0].String(), "/opt/view/etc/conflict: of zz-app@1.1/d6m4k6v, not of zz-run@1.0/cuqphiv") {
		t.Errorf("conflicts %v", result.Conflicts)
	}
}

func TestACacheOfAnotherInstallTreeIsRelocatedAsSpackDoes(t *testing.T) {
	b := newBench(t, filepath.Join(t.TempDir(), "cache"))
	elsewhere(t, filepath.Join(fixtures, "v2-unsigned/cache"), b.mirror, "/opt/software/__spack", "/opt/elsewher/__spack")
	img := b.open(b.mustBuild(b.container(filepath.Join(fixtures, "v2-unsigned/locks/env-a.spack.lock"))))
	compare(t, "view", viewLines(t, img), "testdata/elsewhere/view.txt")
	compare(t, "software", softwareLines(t, img), "testdata/elsewhere/software.txt")
	for name, f := range contentsOf(t, img, "opt/software") {
		if strings.Contains(string(f.data), "/opt/elsewher/") && !strings.HasSuffix(name, "/.spack/binary_distribution") && !strings.Contains(name, "/.spack/install_manifest.json") && !strings.Contains(name, "spack-build") {
			t.Errorf("%s still looks in the old tree", name)
		}
	}
}

// elsewhere copies a cache of layout 2 as if it had been built for another
// install tree, whose path is as long.
func elsewhere(t *testing.T, from, to, old, tree string) {
	t.Helper()
	checksums := map[string]string{}
	err := filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".spack" {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		moved := rewrite(t, data, func(h *tar.Header, body []byte) (tar.Header, []byte) {
			short, target := strings.TrimPrefix(old, "/")[:8], strings.TrimPrefix(tree, "/")[:8]
			h.Name = strings.Replace(h.Name, short, target, 1)
			if h.Typeflag == tar.TypeLink || strings.HasPrefix(h.Linkname, old) {
				h.Linkname = strings.Replace(h.Linkname, short, target, 1)
			}
			return *h, bytes.ReplaceAll(body, []byte(old), []byte(tree))
		})
		sum := sha256.Sum256(moved)
		checksums[strings.TrimSuffix(filepath.Base(path), ".spack")] = hex.EncodeToString(sum[:])
		return writeBelow(from, to, path, moved)
	})
	if err != nil {
		t.Fatal(err)
	}
	for stem, sum := range checksums {
		name := filepath.Join("build_cache", stem+".spec.json")
		setChecksum(t, filepath.Join(from, name), filepath.Join(to, name), sum, 2)
	}
}

// setChecksum copies a spec file with another checksum and layout.
func setChecksum(t *testing.T, from, to, sum string, layout int) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	var spec map[string]json.RawMessage
	if err := json.Unmarshal(text, &spec); err != nil {
		t.Fatal(err)
	}
	spec["binary_cache_checksum"] = json.RawMessage(`{"hash_algorithm":"sha256","hash":"` + sum + `"}`)
	spec["buildcache_layout_version"] = json.RawMessage(fmt.Sprint(layout))
	if text, err = json.Marshal(spec); err == nil {
		err = os.WriteFile(to, text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func writeBelow(from, to, path string, data []byte) error {
	rel, err := filepath.Rel(from, path)
	if err != nil {
		return err
	}
	target := filepath.Join(to, rel)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	return os.WriteFile(target, data, 0o644)
}

// rewrite changes every entry of a gzipped tarball.
func rewrite(t *testing.T, data []byte, change func(*tar.Header, []byte) (tar.Header, []byte)) []byte {
	t.Helper()
	unzipped, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	w := tar.NewWriter(zipped)
	for r := tar.NewReader(unzipped); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		h.PAXRecords = nil
		changed, text := change(h, body)
		if changed.Name == "" {
			continue
		}
		changed.Size = int64(len(text))
		if err := w.WriteHeader(&changed); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Until Spack 0.21 a tarball held the prefix's last folder alone, with the
// files' owners.
func TestTarballsOfLayout1ArePlacedWhereTheyWereBuiltFor(t *testing.T) {
	lock := filepath.Join(fixtures, "v2-unsigned/locks/env-a.spack.lock")
	plain := newBench(t, filepath.Join(fixtures, "v2-unsigned/cache"))
	want := softwareLines(t, plain.open(plain.mustBuild(plain.container(lock))))
	b := newBench(t, filepath.Join(t.TempDir(), "cache"))
	err := filepath.WalkDir(plain.mirror, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".spack" {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		stem := strings.TrimSuffix(filepath.Base(path), ".spack")
		name := stem[strings.Index(stem, "gcc-12.2.0-")+len("gcc-12.2.0-"):]
		old := rewrite(t, data, func(h *tar.Header, body []byte) (tar.Header, []byte) {
			strip := func(s string) string {
				if i := strings.Index(s, "/"+name); i >= 0 {
					return s[i+1:]
				}
				return ""
			}
			h.Name, h.Uid, h.Gid = strip(h.Name), 1000, 1000
			if h.Typeflag == tar.TypeLink {
				h.Linkname = strip(h.Linkname)
			}
			return *h, body
		})
		if err := writeBelow(plain.mirror, b.mirror, path, old); err != nil {
			return err
		}
		sum := sha256.Sum256(old)
		spec := filepath.Join("build_cache", stem+".spec.json")
		setChecksum(t, filepath.Join(plain.mirror, spec), filepath.Join(b.mirror, spec), hex.EncodeToString(sum[:]), 1)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	img := b.open(b.mustBuild(b.container(lock)))
	if got := softwareLines(t, img); !slices.Equal(got, want) {
		t.Errorf("%d entries, want %d: other files than those of layout 2", len(got), len(want))
	}
	for name, f := range contentsOf(t, img, "opt/software") {
		if f.header.Uid != 0 || f.header.Gid != 0 {
			t.Errorf("%s belongs to %d:%d", name, f.header.Uid, f.header.Gid)
		}
	}
}

// padding is what the install tree of the bundled caches has behind its path.
const padding = "/__spack_path_placeholder__/__spack_path_placeholder__/__spack_path_placeholder__/__spack_path_placeholder__/__spac"

// Since 1.2 Spack merges folder by folder and links the folders that only one
// package has. What it writes itself on installing (.spack/NAME/sbom) is not in
// a build cache.
func TestViewsOfSpack13AreSpacks(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(fixtures, "v3-unsigned/locks/env-a.spack.lock"))
	if err != nil {
		t.Fatal(err)
	}
	lock := filepath.Join(t.TempDir(), "spack.lock")
	newer := bytes.Replace(text, []byte(`"1.2.0.dev0"`), []byte(`"1.3.0.dev0"`), 1)
	if err := os.WriteFile(lock, newer, 0o644); err != nil || bytes.Equal(newer, text) {
		t.Fatal("the lockfile has another version", err)
	}
	b := newBench(t, filepath.Join(fixtures, "v3-unsigned/cache"))
	lines := viewLines(t, b.open(b.mustBuild(b.container(lock))))
	for i := range lines {
		lines[i] = strings.Replace(lines[i], padding, "", 1)
	}
	compare(t, "view", lines, "testdata/merged/view.txt")
}
