package targets

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/definition"
	"github.com/openbraininstitute/spacktainers/internal/sif"
)

var update = flag.Bool("update", false, "write what is generated in docs")

// What docs/running.md says of the containers is written from their definitions.
func TestRunningDocsListTheContainers(t *testing.T) {
	const path = "../../docs/running.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), "<!-- containers: ")
	mark, rest, ok2 := strings.Cut(rest, "-->\n")
	_, after, ok3 := strings.Cut(rest, "<!-- end of containers -->")
	if !ok || !ok2 || !ok3 {
		t.Fatalf("%s has lost its marks", path)
	}
	want := before + "<!-- containers: " + mark + "-->\n" + containersTable(t) + "<!-- end of containers -->" + after
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(text) != want {
		t.Errorf("%s does not show the containers as they are defined: go test ./magefiles/targets -run RunningDocs -update", path)
	}
}

func containersTable(t *testing.T) string {
	t.Helper()
	defs, err := definition.Load("../..")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("| container | platform | what it is made from | SIF |\n| --- | --- | --- | --- |\n")
	for _, d := range defs {
		version, from := definedVersion(t, d), "`"+strings.Join(d.Specs, "`, `")+"`"
		if d.Kind == definition.Apptainer {
			from = "image `" + d.From + "`"
		}
		name, err := sif.NewName(d.Name, version, "", strings.TrimPrefix(d.Platform, "linux/"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | `%s` |\n", d.Name, d.Platform, strings.ReplaceAll(from, "|", `\|`), name)
	}
	return b.String()
}

// definedVersion is what is known of a version without building anything.
func definedVersion(t *testing.T, d definition.Definition) string {
	t.Helper()
	if d.Kind == definition.Apptainer {
		version, err := d.ImageVersion()
		if err != nil {
			t.Fatal(err)
		}
		return version
	}
	if d.LockPath == "" {
		return "VERSION"
	}
	text, err := os.ReadFile(filepath.Join(d.Root, d.LockPath))
	if err != nil {
		t.Fatal(err)
	}
	lock, err := buildcache.ParseLockfile(text)
	if err != nil {
		t.Fatal(err)
	}
	order, err := d.Roots(lock)
	if err != nil {
		t.Fatal(err)
	}
	return lock.Specs[lock.Roots[order[0]].Hash].Version
}
