package views

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A merged case is random packages and what Spack's own code has merged them
// into: SourceMergeVisitor of 0.23.0, MultiPrefixMerger of 1.3.0.dev0.
type mergedCase struct {
	Packages []struct {
		Name  string     `json:"name"`
		Files [][]string `json:"files"` // path, kind (d, f, l), target
	} `json:"packages"`
	Projections map[string]string `json:"projections"`
	LinkDirs    bool              `json:"link_dirs"`
	Fatal       bool              `json:"fatal"` // Spack makes no view of them
	Dirs        []string          `json:"dirs"`
	Files       map[string]string `json:"files"` // by path in the view, with what they lead to
}

func TestPackagesAreMergedAsSpackDoes(t *testing.T) {
	for _, version := range []string{"0.23.0", "1.3.0.dev0"} {
		name := filepath.Join("testdata", "merged-"+version+".json")
		if other := os.Getenv("MERGED_" + strings.ReplaceAll(version, ".", "_")); other != "" {
			name = other
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var cases []mergedCase
		if err := json.Unmarshal(text, &cases); err != nil {
			t.Fatal(err)
		}
		if len(cases) < 50 {
			t.Fatalf("%s has %d cases", name, len(cases))
		}
		wrong := 0
		for i, c := range cases {
			if complaint := c.check(version); complaint != "" {
				if wrong++; wrong < 4 {
					t.Errorf("Spack %s, case %d: %s", version, i, complaint)
				}
			}
		}
		if wrong > 0 {
			t.Errorf("Spack %s: %d of %d cases differ", version, wrong, len(cases))
		}
	}
}

// check returns what is not as Spack has it.
func (c mergedCase) check(version string) string {
	v := Default("/opt/view")
	v.LinkDirs = c.LinkDirs
	packages := c.packages()
	for _, p := range packages {
		if to := c.Projections[p.Spec.Name]; to != "" {
			v.Projections = append(v.Projections, Projection{p.Spec.Name, to})
		}
	}
	m := newMerger(rulesOf(version), packages)
	m.linkFolders = m.rules.mergesFolders && v.linkFolders()
	for _, g := range v.groups(m, packages) {
		m.merge(g, func(string) bool { return false })
	}
	if fatal := len(m.fatal) > 0; fatal || c.Fatal {
		if fatal != c.Fatal {
			return fmt.Sprintf("refused: %v (%s), Spack: %v\n%v", fatal, m.fatal, c.Fatal, c.Packages)
		}
		return ""
	}
	var got, want []string
	for at := range m.dirs {
		got = append(got, at+"/")
	}
	for at, s := range m.files {
		got = append(got, at+" -> "+s.path())
	}
	for _, at := range c.Dirs {
		want = append(want, at+"/")
	}
	for at, target := range c.Files {
		want = append(want, at+" -> "+target)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fmt.Sprintf("got  %q\nwant %q\nof %v", got, want, c.Packages)
	}
	return ""
}

func (c mergedCase) packages() []Package {
	var packages []Package
	for _, p := range c.Packages {
		made := Package{Spec: &buildcache.Spec{Name: p.Name, Version: "1", Hash: buildcache.Hash(p.Name)}, Prefix: "/opt/software/" + p.Name}
		for _, f := range p.Files {
			made.Files = append(made.Files, File{Path: f[0], Kind: map[string]Kind{"d": Dir, "f": Regular, "l": Symlink}[f[1]], Link: f[2]})
		}
		packages = append(packages, made)
	}
	return packages
}
