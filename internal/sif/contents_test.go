package sif

import (
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func TestPathsOfPythonAreLookedUpInTheImage(t *testing.T) {
	for name, c := range map[string]struct {
		entries []entry
		want    Contents
	}{
		"plain":  {[]entry{folder("opt/view/lib/python3.13/site-packages"), program("opt/view/bin/tool", "")}, Contents{"/opt/view/lib/python3.13/site-packages", []string{"tool"}}},
		"linked": {[]entry{folder("opt/._view/x/lib/python3.12/site-packages"), symlink("opt/view", "._view/x"), program("opt/._view/x/bin/py-tool", "")}, Contents{"/opt/view/lib/python3.12/site-packages", []string{"py-tool"}}},
		"neurodamus": {[]entry{regular("opt/view/lib/python3.13/site-packages/neurodamus/data/init.py", ""), program("opt/view/bin/special", "")},
			Contents{"/opt/view/lib/python3.13/site-packages", []string{"special", "-mpi", "-python", "/opt/view/lib/python3.13/site-packages/neurodamus/data/init.py"}}},
		"neither": {[]entry{folder("opt/view/lib")}, Contents{}},
	} {
		tree, record := put(t, "amd64", v1.Config{}, layerOf(t, c.entries...))
		img, err := tree.Open(record)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Examine(t.Context(), img, "tool", []string{"py-tool"})
		if err != nil || got.Python != c.want.Python || !slices.Equal(got.Program, c.want.Program) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}
