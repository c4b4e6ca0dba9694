package targets

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/inspect"
	"github.com/openbraininstitute/spacktainers/internal/registry"
	"github.com/openbraininstitute/spacktainers/internal/ui"
)

// Show tells what a published container is made of: packages, sizes, who built
// it from which commit. NAME may have a tag, or be a whole reference.
func (Containers) Show(ctx context.Context, name string,
	tag *string, // to show (default: latest)
	registry *string, // a registry's prefix (default: the first configured)
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	refs, err := a.references(name, tag, registry)
	if err != nil {
		return err
	}
	client, end, err := a.registryClient(ctx)
	if err != nil {
		return err
	}
	defer end()
	done := a.busy(ctx, refs[0].String(), "reading")
	shown, err := inspect.Show(ctx, client, refs[0])
	done()
	if err != nil {
		return fmt.Errorf("show %w", err)
	}
	if or(json, false) {
		return a.JSON(shown)
	}
	if err := a.Print("%s\n%s", shown.Ref, shown.Digest); err != nil {
		return err
	}
	for _, img := range shown.Images {
		if err := a.showImage(img); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) showImage(img inspect.ShownImage) error {
	facts := [][]string{
		{"platform", img.Platform}, {"digest", img.Digest.String()}, {"size", fmt.Sprintf("%s in %d layers", ui.Size(img.Size), img.Layers)},
		{"build key", img.BuildKey}, {"base", img.Base}, {"asked for", strings.Join(img.Roots, ", ")},
		{"commit", img.Commit}, {"source", img.Source}, {"built by", img.Builder}, {"published", when(img.Time)},
		{"attached", strings.Join(img.Attached, " ")}, {"signed", yes(img.Signed)},
	}
	lines := []string{""}
	for _, fact := range facts {
		if fact[1] != "" {
			lines = append(lines, fmt.Sprintf("%-10s  %s", fact[0], ui.Line(fact[1])))
		}
	}
	if err := a.Text(strings.Join(lines, "\n")); err != nil {
		return err
	}
	var rows [][]string
	for _, spec := range img.Specs {
		variants := spec.Variants
		if spec.External {
			variants = "(from the base image)"
		}
		rows = append(rows, []string{spec.Name, spec.Version, string(spec.Hash[:7]), variants})
	}
	if len(rows) == 0 {
		return a.Print("no lockfile is attached, so its packages are not known")
	}
	return a.Table([]string{"package", "version", "hash", "variants"}, rows)
}

func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339)
}

// Diff says in terms of packages what changes from one container to another. A
// and B are NAME:TAG, whole references, or folders with an image layout.
func (Containers) Diff(ctx context.Context, a, b string,
	platform *string, // compare for this one (default: all that both have)
	registry *string, // a registry's prefix (default: the first configured)
	markdown *bool, // for a merge request
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	app, err := start()
	if err != nil {
		return err
	}
	client, end, err := app.registryClient(ctx)
	if err != nil {
		return err
	}
	defer end()
	old, err := app.contents(ctx, client, a, registry)
	if err != nil {
		return fmt.Errorf("diff %w", err)
	}
	new, err := app.contents(ctx, client, b, registry)
	if err != nil {
		return fmt.Errorf("diff %w", err)
	}
	diffs := []inspect.Diff{}
	for _, from := range old {
		for _, to := range new {
			if from.Platform == to.Platform && (platform == nil || *platform == to.Platform) {
				diffs = append(diffs, inspect.Compare(from, to))
			}
		}
	}
	switch {
	case len(diffs) == 0:
		return errors.New("diff: the two have no platform in common, or not the one that was asked for")
	case or(json, false):
		return app.JSON(diffs)
	case or(markdown, false):
		for _, d := range diffs {
			if err := app.Text(d.Markdown()); err != nil {
				return err
			}
		}
		return nil
	}
	for _, d := range diffs {
		if err := app.showDiff(d); err != nil {
			return err
		}
	}
	return nil
}

// contents reads a folder if there is one of that name, or else a registry.
func (a *app) contents(ctx context.Context, client *registry.Client, text string, registry *string) ([]inspect.Contents, error) {
	if info, err := os.Stat(text); err == nil && info.IsDir() {
		return inspect.LayoutContents(text)
	}
	refs, err := a.references(text, nil, registry)
	if err != nil {
		return nil, err
	}
	return inspect.ReadContents(ctx, client, refs[0])
}

func (a *app) showDiff(d inspect.Diff) error {
	if err := a.Print("%s: %s → %s", d.Platform, d.From, d.To); err != nil {
		return err
	}
	var rows [][]string
	for _, c := range d.Changes {
		rows = append(rows, []string{c.Package, c.Kind, c.Old, c.New})
	}
	if len(rows) > 0 {
		if err := a.Table([]string{"package", "change", "from", "to"}, rows); err != nil {
			return err
		}
	}
	return a.Print("%s", d.Summary())
}
