package targets

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/definition"
	"github.com/openbraininstitute/spacktainers/internal/sif"
	"github.com/openbraininstitute/spacktainers/internal/sifstore"
)

// The SIF of a definition file is planned where none was made from the file as it is.
func TestADefinitionFileIsPlannedUntilItsSIFIsUploaded(t *testing.T) {
	t.Chdir(t.TempDir())
	path := filepath.Join("container_definitions", "amd64", "storage.def")
	writeFile(t, ConfigFile, "spack: {repos: []}\nplatforms:\n  linux/amd64: {mirror: \"\"}\n  linux/arm64: {mirror: \"\"}\nregistries: []\nsifs: stored\n")
	writeFile(t, path, "Bootstrap: debootstrap\nOSVersion: bookworm\nMirrorURL: http://deb.example.org\n")
	plan := func(o planOptions) string {
		t.Helper()
		a, err := start()
		if err != nil {
			t.Fatal(err)
		}
		g, err := a.plan(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range g.Steps {
			return s.ID + ": " + strings.Join(s.Why, ", ")
		}
		return g.Summary()
	}
	release := planOptions{release: on(true)}
	if got := plan(planOptions{}); got != "nothing to do: 0 containers up to date" {
		t.Errorf("of no release: %s", got)
	}
	if got := plan(release); !strings.HasPrefix(got, "sif:linux/amd64:storage: ") {
		t.Errorf("without a store: %s", got)
	}
	writeFile(t, filepath.Join("stored", "README"), "")
	if got := plan(release); got != "sif:linux/amd64:storage: there is no SIF of container_definitions/amd64/storage.def as it is now" {
		t.Errorf("nothing is uploaded: %s", got)
	}

	defs, err := definition.Load(root)
	if err != nil {
		t.Fatal(err)
	}
	file, err := definitionFileOf(defs[0])
	if err != nil {
		t.Fatal(err)
	}
	record, err := sif.Builder{Compression: sif.Zstd}.Describe(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	record.SHA256, record.Size, record.Engine = strings.Repeat("a", 64), 1, "apptainer 1.4.5"
	text, err := json.Marshal(sifstore.Manifest{Name: "storage", Files: []sifstore.Stored{{Record: record}},
		Newest: map[string]sifstore.Latest{"linux/amd64": {File: record.File, Version: record.Version, Digest: record.Digest, SHA256: record.SHA256}}})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join("stored", "storage.json"), string(text))
	if got := plan(release); got != "nothing to do: 1 container up to date" {
		t.Errorf("it is uploaded: %s", got)
	}
	if got := plan(planOptions{release: on(true), force: true}); !strings.HasSuffix(got, "and planned nevertheless") {
		t.Errorf("with --force: %s", got)
	}
	if got := plan(planOptions{release: on(true), registry: on("none")}); !strings.Contains(got, "no registry is asked for its image") {
		t.Errorf("where no registry is asked: %s", got)
	}
	writeFile(t, path, "Bootstrap: debootstrap\nOSVersion: bookworm\nMirrorURL: http://deb.example.org\n%post\n  true\n")
	if got := plan(release); !strings.Contains(got, "as it is now") {
		t.Errorf("it has changed: %s", got)
	}
}
