package assemble

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// withViews builds the splice environment of testdata with a view: of its own.
func withViews(t *testing.T, view string) (*bench, Result, error) {
	t.Helper()
	b := newBench(t, "testdata/splice/cache")
	c := b.container("testdata/splice/spack.lock")
	c.Spack = []byte("spack:\n  specs: [zz-app]\n  view: " + view + "\n")
	result, err := b.build(t.Context(), c)
	return b, result, err
}

// Each file in testdata/views is an environment with other views, and what Spack has made of them.
func TestConfiguredViewsAreSpacks(t *testing.T) {
	for name, cache := range map[string][2]string{
		"env-b-0.23": {fixtures + "/v2-signed/cache", fixtures + "/v2-signed/locks/env-b.spack.lock"},
		"python-1.3": {"testdata/python-1.3/cache", "testdata/python-1.3/spack.lock"},
	} {
		b := newBench(t, cache[0])
		environments, err := filepath.Glob("testdata/views/" + name + "-*.yaml")
		if err != nil || len(environments) < 3 {
			t.Fatal(environments, err)
		}
		for _, environment := range environments {
			t.Run(filepath.Base(environment), func(t *testing.T) {
				c := b.container(cache[1])
				if c.Spack, err = os.ReadFile(environment); err != nil {
					t.Fatal(err)
				}
				img := b.open(b.mustBuild(c))
				var lines []string
				for name, f := range contentsOf(t, img, "opt") {
					if !strings.HasPrefix(name, "view") || name == "views" {
						continue
					}
					kind := map[byte]string{tar.TypeDir: "d", tar.TypeSymlink: "l", tar.TypeReg: "f"}[f.header.Typeflag]
					lines = append(lines, strings.ReplaceAll(fmt.Sprintf("%s %s -> %s", kind, name, f.header.Linkname), padding, ""))
				}
				slices.Sort(lines)
				compare(t, "view", lines, strings.TrimSuffix(environment, ".yaml")+".txt")
			})
		}
	}
}

// Each file in testdata/copies is an environment with views of copies and of hard links, and what Spack has made of them: as
// software.txt has it, with what is in the files. Spack 1.3 takes a binary that is no ELF for text, and breaks it.
func TestViewsOfCopiesAreSpacks(t *testing.T) {
	for name, cache := range map[string][2]string{
		"env-b-0.23": {fixtures + "/v2-signed/cache", fixtures + "/v2-signed/locks/env-b.spack.lock"},
		"python-1.3": {"testdata/python-1.3/cache", "testdata/python-1.3/spack.lock"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, cache[0])
			c := b.container(cache[1])
			var err error
			if c.Spack, err = os.ReadFile("testdata/copies/" + name + ".yaml"); err != nil {
				t.Fatal(err)
			}
			var lines []string
			for _, line := range detailedLines(t, b.open(b.mustBuild(c)), "opt") {
				line = strings.ReplaceAll(line, padding, "")
				if i := strings.LastIndexByte(line, ' '); strings.HasSuffix(line[:i], "/.spack-view 644") || strings.Contains(line, "/share/binary-") && !strings.HasPrefix(line, "f views/hard/") {
					line = line[:i]
				}
				if strings.HasPrefix(line[2:], "view") {
					lines = append(lines, line)
				}
			}
			slices.Sort(lines)
			compare(t, "view", lines, "testdata/copies/"+name+".txt")
		})
	}
}

// A view of hard links has the very files of the packages, and one of copies has them but for prefixes. In the image hard
// links lead to files of the same layer only.
func TestCopiesHaveWhatLinksLeadTo(t *testing.T) {
	b, result, err := withViews(t, "{default: {root: /opt/view}, hard: {root: /opt/hard, link_type: hardlink}, copy: {root: /opt/copy, link_type: copy}, more: {root: /srv/more, link_type: hard}}")
	if err != nil {
		t.Fatal(err)
	}
	img := b.open(result)
	all := contentsOf(t, img, "opt")
	content := func(name string) installed {
		f := all[name]
		for f.header.Typeflag == tar.TypeLink || f.header.Typeflag == tar.TypeSymlink {
			target := f.header.Linkname
			if f.header.Typeflag == tar.TypeSymlink && !strings.HasPrefix(target, "/") {
				target = filepath.Join("opt", filepath.Dir(name), target)
			}
			name = strings.TrimPrefix(strings.TrimPrefix(target, "/"), "opt/")
			f = all[name]
		}
		return f
	}
	links, relocated := 0, 0
	for name, f := range all {
		below, ok := strings.CutPrefix(name, "view/")
		if !ok {
			continue
		}
		hard, copied := all["hard/"+below], all["copy/"+below]
		if f.header.Typeflag == tar.TypeDir {
			if hard.header.Typeflag != tar.TypeDir || copied.header.Typeflag != tar.TypeDir {
				t.Errorf("%s is no folder in all views", below)
			}
			continue
		}
		if copied.header.Typeflag == tar.TypeLink || copied.header.Typeflag == 0 || hard.header.Typeflag == 0 {
			t.Errorf("%s: a copy of type %c, a hard link of type %c", below, copied.header.Typeflag, hard.header.Typeflag)
		}
		if hard.header.Typeflag == tar.TypeLink {
			links++
			if target := hard.header.Linkname; !strings.HasPrefix(target, "opt/hard/") && !strings.HasPrefix(target, "srv/more/") {
				t.Errorf("%s is a link to %s, in another layer", below, target)
			}
		}
		want, got, changed := content(name), content("hard/"+below), content("copy/"+below)
		if !bytes.Equal(got.data, want.data) || got.header.Mode != want.header.Mode || !got.header.ModTime.Equal(want.header.ModTime) {
			t.Errorf("%s is another file than the package's: mode %o, want %o", below, got.header.Mode, want.header.Mode)
		}
		switch {
		case changed.header.Mode != want.header.Mode || !changed.header.ModTime.Equal(want.header.ModTime):
			t.Errorf("%s: mode %o, time %s", below, changed.header.Mode, changed.header.ModTime)
		case bytes.Equal(changed.data, want.data):
		case bytes.IndexByte(want.data, 0) >= 0 && len(changed.data) != len(want.data):
			t.Errorf("%s is no text, and has %d bytes instead of %d", below, len(changed.data), len(want.data))
		case bytes.Contains(want.data, []byte("/opt/software/")) && bytes.Contains(changed.data, []byte("/opt/copy")):
			relocated++
		default:
			t.Errorf("%s has other content than the package's", below)
		}
	}
	if links == 0 || relocated == 0 {
		t.Errorf("%d links, %d relocated files: not what is to be tried", links, relocated)
	}
}

func TestViewsAreThoseOfTheEnvironment(t *testing.T) {
	b, result, err := withViews(t, "{default: {root: /opt/v, exclude: [zz-hard]}, roots: {root: /srv/roots, link: roots}, each: {root: /srv/each, select: [zz-run, zz-base], projections: {all: '{name}/{version}'}}}")
	if err != nil {
		t.Fatal(err)
	}
	img := b.open(result)
	for root, want := range map[string]map[string]bool{
		"opt/v":     {"bin/zz-app": true, "bin/zz-run": true, "bin/one": false, ".spack/zz-hard": false, ".spack/zz-app/spec.json": true},
		"srv/roots": {"bin/zz-app": true, "bin/zz-run": false, "etc/conflict": true},
		"srv/each":  {"zz-run/1.0/bin/zz-run": true, "zz-base/2.0/lib/libzzbase.so": true, "bin": false, "zz-run/1.0/.spack/zz-run/spec.json": true},
	} {
		got := contentsOf(t, img, root)
		for name, there := range want {
			if _, ok := got[name]; ok != there {
				t.Errorf("/%s/%s: there is %v, want %v", root, name, ok, there)
			}
		}
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(config.Config.Env, func(e string) bool { return strings.HasPrefix(e, "PATH=/opt/v/bin:") }) {
		t.Errorf("environment %q", config.Config.Env)
	}
}

func TestWithoutAViewTheProgramsOfTheRootsAreFound(t *testing.T) {
	b, result, err := withViews(t, "false")
	if err != nil {
		t.Fatal(err)
	}
	img := b.open(result)
	if got := contentsOf(t, img, "opt/view"); len(got) > 0 {
		t.Errorf("the view holds %d entries", len(got))
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	env := strings.Join(config.Config.Env, "\n")
	if !strings.Contains(env, "PATH=/opt/software/linux-debian12-x86_64_v3/gcc-12.2.0/zz-app-1.1-d6m4k6vjn5o4vio7cpg2buji5er4t4o4/bin:/usr/local/sbin:") ||
		strings.Contains(env, "/opt/view") || strings.Contains(env, "SPACK_ENV_VIEW") {
		t.Errorf("environment %q", config.Config.Env)
	}
}

func TestAViewMayNotCoverWhatIsThere(t *testing.T) {
	for view, want := range map[string]string{
		"/opt/software":      "the packages lie there",
		"/opt":               "the packages lie there",
		"/opt/software/view": "the packages lie there",
		"{d: {root: /" + strings.Repeat("x", 99) + ", link_type: copy}}": "x, which is longer: exclude it from the view",
		"{d: {root: /opt/spack-environment}}":                            "puts /opt/spack-environment/spack.lock there",
		"/etc":                                                           "puts /etc/profile.d/spacktainer.sh there",
	} {
		b, _, err := withViews(t, view)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", view, err, want)
		}
		b.nothingLeft()
	}
}
