package inspect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/registry"
)

// Contents are an image for one platform in package terms.
type Contents struct {
	Name     string // the reference or folder
	Platform string
	Specs    []ShownSpec
	Layers   []v1.Descriptor
}

// Size is what a full download takes.
func (c Contents) Size() (total int64) {
	for _, d := range c.Layers {
		total += d.Size
	}
	return total
}

// ReadContents reads the images behind a tag or digest, by platform.
func ReadContents(ctx context.Context, c *registry.Client, ref name.Reference) ([]Contents, error) {
	images, err := c.Images(ctx, ref)
	if err != nil {
		return nil, err
	}
	if images == nil {
		return nil, fmt.Errorf("%s does not exist", ref)
	}
	var all []Contents
	for _, published := range images {
		one, err := readContents(ctx, c, ref, published)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

func readContents(ctx context.Context, c *registry.Client, ref name.Reference, published registry.PlatformImage) (Contents, error) {
	img, err := c.Image(ctx, ref.Context(), published.Descriptor.Digest)
	if err != nil {
		return Contents{}, err
	}
	text, err := attest.Lock(ctx, c, ref.Context(), published.Descriptor.Digest)
	if err == nil && text == nil {
		err = ErrNoLock
	}
	if err != nil {
		return Contents{}, fmt.Errorf("%s for %s: %w", ref, published.Platform, err)
	}
	return contents(ref.String(), published.Platform, img, text)
}

// Upcoming says what changes from the image that the first of some tags leads to for a platform to
// the one that is to be made from a lockfile, whose size is not known yet; nil where no tag leads to
// one.
func Upcoming(ctx context.Context, c *registry.Client, tags []name.Tag, platform string, lock *buildcache.Lockfile) (*Diff, error) {
	for _, tag := range tags {
		images, err := c.Images(ctx, tag)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(images, func(img registry.PlatformImage) bool { return img.Platform == platform })
		if i < 0 {
			continue
		}
		from, err := readContents(ctx, c, tag, images[i])
		if err != nil {
			return nil, err
		}
		d := Compare(from, Contents{Name: "to be built", Platform: platform, Specs: runtimeSpecs(lock)})
		return &d, nil
	}
	return nil, nil
}

// LayoutContents reads the image of a layout, whose lockfile lies beside it as
// containers:build leaves it.
func LayoutContents(dir string) ([]Contents, error) {
	path, err := layout.FromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("%s is no image layout: %w", dir, err)
	}
	index, err := path.ImageIndex()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	i := slices.IndexFunc(m.Manifests, func(d v1.Descriptor) bool {
		return d.MediaType.IsImage() && (d.Platform == nil || registry.IsPlatformImage(d))
	})
	if i < 0 {
		return nil, fmt.Errorf("%s holds no image", dir)
	}
	img, err := index.Image(m.Manifests[i].Digest)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	text, err := os.ReadFile(filepath.Clean(dir) + ".lock")
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%s: no lockfile lies beside it", dir)
	}
	if err != nil {
		return nil, err
	}
	platform := v1.Platform{OS: config.OS, Architecture: config.Architecture}
	one, err := contents(dir, platform.String(), img, text)
	return []Contents{one}, err
}

func contents(name, platform string, img v1.Image, lock []byte) (Contents, error) {
	m, err := img.Manifest()
	if err != nil {
		return Contents{}, fmt.Errorf("%s: %w", name, err)
	}
	parsed, err := buildcache.ParseLockfile(lock)
	if err != nil {
		return Contents{}, fmt.Errorf("%s: %w", name, err)
	}
	return Contents{name, platform, runtimeSpecs(parsed), m.Layers}, nil
}

// A Diff is what changes for who goes from one image to another.
type Diff struct {
	From     string   `json:"from"`
	To       string   `json:"to"`
	Platform string   `json:"platform"`
	Changes  []Change `json:"changes"`
	Same     int      `json:"same"` // packages that are in both
	OldSize  int64    `json:"old_bytes"`
	NewSize  int64    `json:"new_bytes"`      // 0: it is not built yet
	Download int64    `json:"download_bytes"` // bytes of the layers that only the new one has
}

// What can become of a package.
const (
	Added    = "added"
	Removed  = "removed"
	Version  = "version"  // another version
	Variants = "variants" // the same version, otherwise built
	Rebuilt  = "rebuilt"  // the same, on other dependencies
)

// A Change is what becomes of a package.
type Change struct {
	Package string `json:"package"`
	Kind    string `json:"kind"`
	Old     string `json:"old,omitempty"`
	New     string `json:"new,omitempty"`
}

// Compare says what changes between two images of the same platform.
func Compare(from, to Contents) Diff {
	d := Diff{From: from.Name, To: to.Name, Platform: to.Platform, Changes: []Change{}, OldSize: from.Size(), NewSize: to.Size()}
	for _, layer := range to.Layers {
		if !slices.ContainsFunc(from.Layers, func(l v1.Descriptor) bool { return l.Digest == layer.Digest }) {
			d.Download += layer.Size
		}
	}
	gone, came := byName(from.Specs), byName(to.Specs)
	names := map[string]bool{}
	for _, spec := range slices.Concat(from.Specs, to.Specs) {
		names[spec.Name] = true
	}
	for pkg := range names {
		old, new, same := withoutCommon(gone[pkg], came[pkg])
		d.Same += same
		d.Changes = append(d.Changes, changes(pkg, old, new)...)
	}
	slices.SortStableFunc(d.Changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(rank[a.Kind], rank[b.Kind]), cmp.Compare(a.Package, b.Package), cmp.Compare(a.New, b.New))
	})
	return d
}

var rank = map[string]int{Added: 0, Removed: 1, Version: 2, Variants: 3, Rebuilt: 4}

func byName(specs []ShownSpec) map[string][]ShownSpec {
	grouped := map[string][]ShownSpec{}
	for _, spec := range specs {
		grouped[spec.Name] = append(grouped[spec.Name], spec)
	}
	return grouped
}

func withoutCommon(old, new []ShownSpec) (gone, came []ShownSpec, same int) {
	has := func(specs []ShownSpec, hash buildcache.Hash) bool {
		return slices.ContainsFunc(specs, func(s ShownSpec) bool { return s.Hash == hash })
	}
	for _, spec := range old {
		if has(new, spec.Hash) {
			same++
		} else {
			gone = append(gone, spec)
		}
	}
	for _, spec := range new {
		if !has(old, spec.Hash) {
			came = append(came, spec)
		}
	}
	return gone, came, same
}

// changes pairs the specs of a package that went with those that came: first
// the same version, so that of several only the changed one is named.
func changes(pkg string, old, new []ShownSpec) []Change {
	var found []Change
	pair := func(i, j int, kind, from, to string) {
		found = append(found, Change{pkg, kind, from, to})
		old, new = slices.Delete(slices.Clone(old), i, i+1), slices.Delete(slices.Clone(new), j, j+1)
	}
	for i := 0; i < len(old); {
		j := slices.IndexFunc(new, func(s ShownSpec) bool { return s.Version == old[i].Version && s.Variants == old[i].Variants })
		kind := Rebuilt
		if j < 0 {
			j = slices.IndexFunc(new, func(s ShownSpec) bool { return s.Version == old[i].Version })
			kind = Variants
		}
		switch {
		case j < 0:
			i++
		case kind == Rebuilt:
			pair(i, j, kind, old[i].Version+"/"+short(old[i].Hash), new[j].Version+"/"+short(new[j].Hash))
		default:
			before, after := changedWords(old[i].Variants, new[j].Variants)
			pair(i, j, kind, before, after)
		}
	}
	for len(old) > 0 && len(new) > 0 {
		pair(0, 0, Version, old[0].Version, new[0].Version)
	}
	for _, spec := range old {
		found = append(found, Change{pkg, Removed, spec.Version, ""})
	}
	for _, spec := range new {
		found = append(found, Change{pkg, Added, "", spec.Version})
	}
	return found
}

func short(hash buildcache.Hash) string { return string(hash[:min(7, len(hash))]) }

// changedWords leaves of two lists of variants what is not in both.
func changedWords(old, new string) (string, string) {
	a, b := strings.Fields(old), strings.Fields(new)
	only := func(words, others []string) string {
		return strings.Join(slices.DeleteFunc(slices.Clone(words), func(w string) bool { return slices.Contains(others, w) }), " ")
	}
	return only(a, b), only(b, a)
}
