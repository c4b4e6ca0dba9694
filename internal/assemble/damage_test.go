package assemble

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/views"
)

func TestAFlippedByteInAnyBlobIsFound(t *testing.T) {
	for _, cache := range []struct{ name, tarballs string }{
		{"v2-unsigned", "build_cache/*/*/*/*.spack"},
		{"v3-unsigned", "blobs/sha256/*/*"},
	} {
		mirror := filepath.Join(fixtures, cache.name, "cache")
		lock := filepath.Join(fixtures, cache.name, "locks/env-hello.spack.lock")
		whole := newBench(t, mirror)
		result := whole.mustBuild(whole.container(lock))
		used := map[string]bool{} // digests of what the image is made of
		layers, err := whole.open(result).Layers()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range layers {
			digest, err := l.Digest()
			if err != nil {
				t.Fatal(err)
			}
			used[digest.Hex] = true
		}
		b := damaged(t, mirror)
		paths, err := filepath.Glob(filepath.Join(b.mirror, cache.tarballs))
		if err != nil {
			t.Fatal(err)
		}
		tried := 0
		for _, path := range paths {
			if !used[sha256File(t, path)] {
				continue
			}
			tried++
			flip(t, path)
			b.work = filepath.Join(t.TempDir(), "work")
			_, err := b.build(t.Context(), b.container(lock))
			if !errors.Is(err, buildcache.ErrChecksum) || !strings.Contains(err.Error(), filepath.Base(path)) {
				t.Errorf("%s flipped: %v", filepath.Base(path), err)
			}
			b.nothingLeft()
			flip(t, path)
		}
		if tried != len(result.Packages) {
			t.Errorf("%s: flipped %d tarballs of %d", cache.name, tried, len(result.Packages))
		}
	}
}

func TestAMissingTarballIsNamed(t *testing.T) {
	b := damaged(t, fixtures+"/v2-unsigned/cache")
	paths, err := filepath.Glob(b.mirror + "/build_cache/*/*/hello-spack-1.1/*.spack")
	if err != nil || len(paths) != 1 {
		t.Fatal(paths, err)
	}
	if err := os.Remove(paths[0]); err != nil {
		t.Fatal(err)
	}
	_, err = b.build(t.Context(), b.container(fixtures+"/v2-unsigned/locks/env-hello.spack.lock"))
	if err == nil || !strings.Contains(err.Error(), "hello-spack@1.1") || !errors.Is(err, buildcache.ErrNotInCache) && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	b.nothingLeft()
}

func TestEveryMissingPackageIsNamedAtOnce(t *testing.T) {
	b := newBench(t, fixtures+"/v3-unsigned/cache")
	// The same environment, made by a Spack whose hashes this cache does not know.
	_, err := b.build(t.Context(), b.container(fixtures+"/v2-unsigned/locks/env-a.spack.lock"))
	if err == nil {
		t.Fatal("built from a cache that has none of the packages")
	}
	for _, name := range []string{"qs-server", "qs-report", "qs-tls"} {
		if !strings.Contains(err.Error(), name+"@") {
			t.Errorf("%s is not named in %v", name, err)
		}
	}
	b.nothingLeft()
}

func TestAForgedSignatureIsRefused(t *testing.T) {
	key, err := os.ReadFile(fixtures + "/v2-signed/cache/build_cache/_pgp/DE7BBCF5545ABA42FEE4EC9D27CA373DAC003224.pub")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := buildcache.ReadKeyring(key)
	if err != nil {
		t.Fatal(err)
	}
	b := damaged(t, fixtures+"/v3-signed/cache")
	b.keys = keys
	lock := fixtures + "/v3-signed/locks/env-hello.spack.lock"
	b.mustBuild(b.container(lock)) // as it is, it verifies
	paths, err := filepath.Glob(b.mirror + "/v3/manifests/spec/hello-spack/hello-spack-1.1-*")
	if err != nil || len(paths) != 1 {
		t.Fatal(paths, err)
	}
	text, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	forged := bytes.Replace(text, []byte(`"version":3`), []byte(`"version": 3`), 1)
	if err := os.WriteFile(paths[0], forged, 0o644); err != nil || bytes.Equal(text, forged) {
		t.Fatal("not forged", err)
	}
	if _, err := b.build(t.Context(), b.container(lock)); !errors.Is(err, buildcache.ErrSignature) {
		t.Errorf("got %v", err)
	}
}

// made is a tarball with the entries of a package, whose last one is the build
// information.
func made(t *testing.T, info string, entries ...tar.Header) io.Reader {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range append(entries, tar.Header{Name: at + "/.spack/binary_distribution", Typeflag: tar.TypeReg, Size: int64(len(info))}) {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg && h.Size > 0 {
			if _, err := w.Write([]byte(info)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

var testSpec = &buildcache.Spec{Name: "x", Version: "1.0", Namespace: "builtin"}

const (
	at    = "opt/software/linux/x-1.0-abc"
	built = "{buildpath: /opt/software, relative_prefix: linux/x-1.0-abc, sbang_install_path: /opt/software/bin/sbang}"
)

func TestTarballsAreRefused(t *testing.T) {
	file := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg} }
	symlink := func(name, target string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}
	}
	for name, test := range map[string]struct {
		entries []tar.Header
		info    string
		want    string
	}{
		"leaves by dots":             {entries: []tar.Header{file(at + "/../../../../etc/passwd")}, want: "leads out of the package"},
		"absolute name":              {entries: []tar.Header{file("/etc/passwd")}, want: "absolute name"},
		"outside the prefix":         {entries: []tar.Header{file("opt/software/linux/y-1.0-abc/bin/y")}, want: "outside the package's prefix"},
		"file above the prefix":      {entries: []tar.Header{file("opt/software/linux/evil")}, want: "outside the package's prefix"},
		"whiteout":                   {entries: []tar.Header{file(at + "/.wh.bin")}, want: "remove files of other layers"},
		"opaque folder":              {entries: []tar.Header{file(at + "/.wh..wh..opq")}, want: "remove files of other layers"},
		"behind a link":              {entries: []tar.Header{symlink(at+"/lib", "/etc"), file(at + "/lib/passwd")}, want: "no folder"},
		"behind a link, far":         {entries: []tar.Header{symlink(at+"/lib", "/etc"), file(at + "/lib/a/b/c")}, want: "no folder"},
		"link over a folder":         {entries: []tar.Header{file(at + "/lib/a"), symlink(at+"/lib", "/etc")}, want: "there twice"},
		"the same folder twice":      {entries: []tar.Header{{Name: at + "/lib/", Typeflag: tar.TypeDir}, {Name: at + "/lib", Typeflag: tar.TypeDir}}, want: "there twice"},
		"a user's file":              {entries: []tar.Header{{Name: at + "/a", Typeflag: tar.TypeReg, Uid: 1234}}, want: "not to root"},
		"setuid":                     {entries: []tar.Header{{Name: at + "/a", Typeflag: tar.TypeReg, Mode: 0o4755}}, want: "another's rights"},
		"capability":                 {entries: []tar.Header{{Name: at + "/a", Typeflag: tar.TypeReg, PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "x"}}}, want: "security.capability"},
		"the same file twice":        {entries: []tar.Header{file(at + "/a"), file(at + "/a")}, want: "there twice"},
		"device":                     {entries: []tar.Header{{Name: at + "/null", Typeflag: tar.TypeChar}}, want: "files, folders and links"},
		"pipe":                       {entries: []tar.Header{{Name: at + "/pipe", Typeflag: tar.TypeFifo}}, want: "files, folders and links"},
		"hard link to the host":      {entries: []tar.Header{{Name: at + "/shadow", Typeflag: tar.TypeLink, Linkname: "etc/shadow"}}, want: "no file before it"},
		"hard link to nothing yet":   {entries: []tar.Header{{Name: at + "/b", Typeflag: tar.TypeLink, Linkname: at + "/a"}, file(at + "/a")}, want: "no file before it"},
		"global header":              {entries: []tar.Header{{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"path": "x"}}}, want: "files, folders and links"},
		"capability of libarchive":   {entries: []tar.Header{{Name: at + "/a", Typeflag: tar.TypeReg, PAXRecords: map[string]string{"LIBARCHIVE.xattr.security.capability": "AQ"}}}, want: "LIBARCHIVE.xattr"},
		"escape sequence in a name":  {entries: []tar.Header{file(at + "/a\x1b[2J")}, want: "control character"},
		"line break in a name":       {entries: []tar.Header{file(at + "/a\n::error::b")}, want: "control character"},
		"line break in a target":     {entries: []tar.Header{symlink(at+"/a", "b\nc")}, want: "control character"},
		"C1 control in a name":       {entries: []tar.Header{file(at + "/a\u009b2J")}, want: "control character"},
		"link that leads nowhere":    {entries: []tar.Header{symlink(at+"/a", "")}, want: "leads nowhere"},
		"a prefix that is none":      {info: "{buildpath: software, relative_prefix: x}", want: "names the prefix"},
		"no build information":       {info: "{}", want: "names the prefix"},
		"build information is noise": {info: "{buildpath: [", want: "binary_distribution"},
	} {
		t.Run(name, func(t *testing.T) {
			info := test.info
			if info == "" {
				info = built
			}
			_, err := readContents(made(t, info, test.entries...), testSpec)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

// Whatever a tarball says, what is taken from it is in its prefix, and no
// entry stands behind a link.
func FuzzReadContents(f *testing.F) {
	for _, headers := range [][]tar.Header{
		{{Name: at + "/bin/x", Typeflag: tar.TypeReg}},
		{{Name: at + "/lib", Typeflag: tar.TypeSymlink, Linkname: "lib64"}, {Name: at + "/a", Typeflag: tar.TypeDir}},
		{{Name: "opt/", Typeflag: tar.TypeDir}, {Name: at + "/b", Typeflag: tar.TypeReg}, {Name: at + "/c", Typeflag: tar.TypeLink, Linkname: at + "/b"}},
		{{Name: at + "/../x", Typeflag: tar.TypeReg}},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range append(headers, tar.Header{Name: at + "/.spack/binary_distribution", Typeflag: tar.TypeReg, Size: int64(len(built))}) {
			if err := w.WriteHeader(&h); err != nil {
				f.Fatal(err)
			}
			if h.Size > 0 {
				if _, err := io.WriteString(w, built); err != nil {
					f.Fatal(err)
				}
			}
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := readContents(bytes.NewReader(data), testSpec)
		if err != nil {
			return
		}
		if !path.IsAbs(c.prefix()) || path.Clean(c.prefix()) != c.prefix() {
			t.Errorf("prefix %q", c.prefix())
		}
		folders := map[string]bool{}
		for _, e := range c.Files {
			if e.Path == "" || path.Clean("/"+e.Path) != "/"+e.Path {
				t.Errorf("entry %q", e.Path)
			}
			folders[e.Path] = e.Kind == views.Dir
		}
		for _, e := range c.Files {
			if isDir, ok := folders[path.Dir(e.Path)]; ok && !isDir {
				t.Errorf("%q lies behind something that is no folder", e.Path)
			}
		}
	})
}

func TestTruncatedTarballIsRefused(t *testing.T) {
	whole, err := io.ReadAll(made(t, built, tar.Header{Name: at + "/bin/x", Typeflag: tar.TypeReg}))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, 511, 512, 700, 1024, 1100} {
		if _, err := readContents(bytes.NewReader(whole[:n]), testSpec); err == nil {
			t.Errorf("%d bytes of %d were taken for a tarball", n, len(whole))
		}
	}
}

func TestLinksMayOnlyLeaveForWhatTheSystemProvides(t *testing.T) {
	for name, test := range map[string]struct {
		target string
		ok     bool
	}{
		"own file":                    {"x.so.1", true},
		"another package":             {"/opt/software/linux/y-1.0-def/lib/y.so", true},
		"another package, relative":   {"../../y-1.0-def/lib/y.so", true},
		"external":                    {"/usr/lib/z.so", true},
		"certificates":                {"/etc/ssl/certs", true},
		"absolute":                    {"/etc/passwd", false},
		"escaping":                    {"../../../../../etc/passwd", false},
		"climbing out and back":       {"/opt/software/../../root/.ssh", false},
		"folder that begins the same": {"/opt/software2/x", false},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := readContents(made(t, built, tar.Header{Name: at + "/lib/x.so", Typeflag: tar.TypeSymlink, Linkname: test.target}), testSpec)
			if err != nil {
				t.Fatal(err)
			}
			system := systemFolders([]*buildcache.Spec{{Name: "z", External: true, ExternalPath: "/usr"}})
			err = checkLinks([]payload{{Spec: testSpec, contents: c, Prefix: c.prefix()}}, system)
			if (err == nil) != test.ok {
				t.Errorf("link to %s: %v", test.target, err)
			}
		})
	}
}

func walkTar(t *testing.T, r io.Reader, each func(name, target string)) {
	t.Helper()
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		each(header.Name, header.Linkname)
	}
}

func sha256File(t *testing.T, path string) string {
	t.Helper()
	b, err := blobStore(t.TempDir()).write(func(w io.Writer) error {
		data, err := os.ReadFile(path)
		if err == nil {
			_, err = w.Write(data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.Digest.Hex
}
