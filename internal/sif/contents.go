package sif

import (
	"context"
	"maps"
	"path"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Contents is what a job must know of what is in an image.
type Contents struct {
	Python  string   // folder of its Python packages; empty: none
	Program []string // what the container is there for; nil: who knows
}

// Examine looks into an image for what a job needs.
func Examine(ctx context.Context, image v1.Image, container string, packages []string) (Contents, error) {
	layers, err := image.Layers()
	if err != nil {
		return Contents{}, err
	}
	t, err := flatten(ctx, layers)
	if err != nil {
		return Contents{}, err
	}
	var c Contents
	if found := t.glob("opt/view/lib/python3*/site-packages"); len(found) > 0 {
		c.Python = "/" + found[len(found)-1]
	}
	if script := t.glob("opt/view/lib/python3*/site-packages/neurodamus/data/init.py"); len(script) > 0 && len(t.glob("opt/view/bin/special")) > 0 {
		c.Program = []string{"special", "-mpi", "-python", "/" + script[len(script)-1]}
		return c, nil
	}
	for _, name := range append([]string{container}, packages...) {
		if len(t.glob("opt/view/bin/"+name)) > 0 {
			c.Program = []string{name}
			break
		}
	}
	return c, nil
}

// glob returns the paths that match a pattern, sorted, following links.
func (t *tree) glob(pattern string) []string {
	paths := []string{""}
	for _, part := range split(pattern) {
		var next []string
		for _, p := range paths {
			dir, err := t.folder(p, false)
			if err != nil {
				continue
			}
			for _, name := range slices.Sorted(maps.Keys(dir.children)) {
				if ok, _ := path.Match(part, name); ok {
					next = append(next, path.Join(p, name))
				}
			}
		}
		paths = next
	}
	return paths
}
