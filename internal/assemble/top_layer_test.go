package assemble

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/container"
)

// No unpacker takes an entry twice, and none of what makes an image may be
// covered by accident.
func TestFilesOfADefinitionCoverNothingByAccident(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"plain": "text", "dir/run.sh": "#!/bin/sh"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("dir", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	plain, folder, link := filepath.Join(dir, "plain"), filepath.Join(dir, "dir"), filepath.Join(dir, "link")
	for name, test := range map[string]struct {
		files []container.File
		want  string // an error; empty: none
	}{
		"a file":                  {[]container.File{{Source: plain, Target: "/opt/plain"}}, ""},
		"a folder":                {[]container.File{{Source: folder, Target: "/opt/x"}}, ""},
		"a link to a folder":      {[]container.File{{Source: link, Target: "/opt/x"}}, ""},
		"a file of the view":      {[]container.File{{Source: plain, Target: "/opt/view/bin/hello-spack"}}, ""},
		"new in the view":         {[]container.File{{Source: folder, Target: "/opt/view/share/x"}}, ""},
		"two in one folder":       {[]container.File{{Source: folder, Target: "/opt/x"}, {Source: plain, Target: "/opt/x/plain"}}, ""},
		"the same place twice":    {[]container.File{{Source: folder, Target: "/opt/x"}, {Source: plain, Target: "/opt/x/run.sh"}}, "puts something there"},
		"below a file":            {[]container.File{{Source: plain, Target: "/opt/plain"}, {Source: plain, Target: "/opt/plain/below"}}, "is no folder"},
		"the lockfile":            {[]container.File{{Source: plain, Target: "/opt/spack-environment/spack.lock"}}, "puts something there"},
		"the view":                {[]container.File{{Source: plain, Target: "/opt/view"}}, "puts something there"},
		"the install tree":        {[]container.File{{Source: plain, Target: "/opt/software"}}, "the packages lie there"},
		"in the install tree":     {[]container.File{{Source: folder, Target: "/opt/software/x"}}, "the packages lie there"},
		"behind a link of a view": {[]container.File{{Source: plain, Target: "/opt/view/bin/hello-spack/x"}}, "is no folder"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, fixtures+"/v3-signed/cache")
			c := b.container(fixtures + "/v3-signed/locks/env-hello.spack.lock")
			c.Files = test.files
			result, err := b.build(t.Context(), c)
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want an error with %q", err, test.want)
			case test.want == "":
				noEntryTwice(t, b, result)
			default:
				b.nothingLeft()
			}
		})
	}
}

// noEntryTwice reads every layer as an unpacker does.
func noEntryTwice(t *testing.T, b *bench, result Result) {
	t.Helper()
	layers, err := b.open(result).Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		body, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		walkTar(t, body, func(name, _ string) {
			if name = strings.Trim(name, "/"); seen[name] {
				t.Errorf("%s is in a layer twice", name)
			}
			seen[name] = true
		})
		if err := body.Close(); err != nil && err != io.EOF {
			t.Fatal(err)
		}
	}
}

func TestWhatKilledBuildsLeftInTheStoreIsSwept(t *testing.T) {
	b := newBench(t, fixtures+"/v3-signed/cache")
	dir := filepath.Join(b.work, "blobs", "sha256")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	old, fresh := filepath.Join(dir, ".part-old"), filepath.Join(dir, ".part-fresh")
	for _, path := range []string{old, fresh} {
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(old, epoch, epoch); err != nil {
		t.Fatal(err)
	}
	b.mustBuild(b.container(fixtures + "/v3-signed/locks/env-hello.spack.lock"))
	if _, err := os.Stat(old); err == nil {
		t.Error("a part of long ago is still there")
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Error("a part that another process may be writing is gone")
	}
}
