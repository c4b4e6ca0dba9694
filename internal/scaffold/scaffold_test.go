package scaffold

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func aSite() Site {
	return Site{Title: "site", Module: "example.org/site", Tool: "github.com/openbraininstitute/spacktainers", Version: "v1.2.3", Registry: "ghcr.io/org/", Arch: "amd64", CI: "github"}
}

func TestARepositoryHasWhatItNeeds(t *testing.T) {
	for _, ci := range CIs {
		for _, registry := range []string{"", "ghcr.io/org/"} {
			site := aSite()
			site.CI, site.Registry = ci, registry
			files, err := site.Files()
			if err != nil {
				t.Fatal(err)
			}
			paths := ""
			for _, f := range files {
				paths += f.Path + " "
				if strings.Contains(string(f.Text), "<no value>") {
					t.Errorf("%s: %s", f.Path, f.Text)
				}
				if ext := filepath.Ext(f.Path); ext == ".yaml" || ext == ".yml" {
					var any map[string]any
					if err := yaml.Unmarshal(f.Text, &any); err != nil || len(any) == 0 {
						t.Errorf("%s: %v", f.Path, err)
					}
				}
			}
			want := ".gitignore README.md container_definitions/amd64/hello/spack.yaml go.mod magefile.go magefiles/magefile.go spacktainers.yaml "
			if paths != want {
				t.Errorf("%s: got %s, want %s", ci, paths, want)
			}
		}
	}
}

func TestTheGoLineIsThatOfTheTargets(t *testing.T) {
	text, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "\ngo "+GoVersion+"\n") {
		t.Errorf("go.mod says otherwise than go %s", GoVersion)
	}
}

func TestNothingIsWrittenOverAFile(t *testing.T) {
	dir := t.TempDir()
	readme := filepath.Join(dir, "README.md")
	if err := os.WriteFile(readme, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	files, err := aSite().Files()
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, files); err == nil || !strings.Contains(err.Error(), "has README.md already") {
		t.Errorf("got %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("files were written: %v", entries)
	}
}

func TestValuesThatWouldBeMoreThanThemselvesAreRefused(t *testing.T) {
	for _, change := range []func(*Site){
		func(s *Site) { s.Module = "a\nreplace b => /etc" },
		func(s *Site) { s.Module = "" },
		func(s *Site) { s.Registry = "ghcr.io/org/\nsifs: x/" },
		func(s *Site) { s.Registry = "ghcr.io/org" },
		func(s *Site) { s.Version = "v1 // x" },
		func(s *Site) { s.CI = "jenkins" },
	} {
		site := aSite()
		change(&site)
		if files, err := site.Files(); err == nil {
			t.Errorf("%+v: %d files", site, len(files))
		}
	}
}
