// Package assemble makes container images straight from a Spack build cache:
// without Spack, podman or root. Each package's tarball is a layer as it
// stands; above them lies one layer with the view, the environment and the
// definition's own files.
//
// Packages go where they were built for, byte for byte. Those that cannot stay
// (spliced ones, and those of a cache that was built for another install tree)
// are relocated as Spack does it. The same lockfile, cache and base give the
// same digest on every machine.
package assemble

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/container"
	"github.com/openbraininstitute/spacktainers/internal/image"
)

// A Builder assembles from one build cache.
type Builder struct {
	Cache *buildcache.Cache
	Work  string // a folder for blobs that later builds use again; made if missing
	Fetch int    // packages at a time; each takes a connection and a core

	// Watch is told how far a step is, such as fetching: how many packages are done, of how many. It is
	// called in parallel, and may be nil.
	Watch func(step string, done, of int)
}

// each does something with packages, several at a time. It stops at no error: f keeps its own.
func (b Builder) each(step string, n int, f func(i int)) {
	if b.Watch != nil {
		b.Watch(step, 0, n)
	}
	var done atomic.Int64
	var g errgroup.Group
	g.SetLimit(max(1, b.Fetch))
	for i := range n {
		g.Go(func() error {
			f(i)
			if d := done.Add(1); b.Watch != nil {
				b.Watch(step, int(d), n)
			}
			return nil
		})
	}
	_ = g.Wait() // no error comes out of it
}

// template is the version of what this package makes of its inputs. It goes up
// whenever the same inputs give other bytes, so that images are built anew.
const template = "assemble-5"

// A Container is what is assembled, and on which base image.
type Container struct {
	container.Container
	Base Base
}

// platform is the container's as images have it.
func (c Container) platform() (v1.Platform, error) {
	platform, err := v1.ParsePlatform(c.Platform)
	if err != nil {
		return v1.Platform{}, err
	}
	return *platform, nil
}

// A Result tells what an image is made of.
type Result struct {
	image.Record
	Packages  []*buildcache.Spec
	Externals []*buildcache.Spec // the base image or the host has to provide them
	Conflicts []Conflict
	Layers    int   // the base's included
	Size      int64 // bytes of all layers as stored
	Fetched   int   // packages read from the mirror; the others were here
}

// Build makes the image of a container and puts it into the tree. The layout
// may share its blobs with others by hard links.
func (b Builder) Build(ctx context.Context, c Container, tree image.Tree) (Result, error) {
	var result Result
	record, err := tree.Create(c.Name, c.Platform, c.LockText, func(dir string) (image.Record, error) {
		var err error
		result, err = b.build(ctx, c, dir)
		return result.Record, err
	})
	result.Record = record
	return result, err
}

func (b Builder) build(ctx context.Context, c Container, dir string) (Result, error) {
	b.blobs().sweep()
	packages, externals, err := selectPackages(c)
	if err != nil {
		return Result{}, err
	}
	payloads, err := b.fetchAll(ctx, packages, c.Lock)
	if err != nil {
		return Result{}, err
	}
	if err := place(c.Lock, payloads); err != nil {
		return Result{}, err
	}
	if err := b.relocateAll(ctx, payloads, c); err != nil {
		return Result{}, err
	}
	if err := checkLinks(payloads, systemFolders(externals)); err != nil {
		return Result{}, err
	}
	base, err := b.layBase(ctx, c.Base)
	if err != nil {
		return Result{}, err
	}
	limit := maxLayers - len(base.Layers) - 1
	if limit < 1 {
		return Result{}, fmt.Errorf("base image %s has %d layers, which leaves none of %d: flatten it", c.Base.Ref, len(base.Layers), maxLayers)
	}
	groups := group(bySharing(payloads), limit)
	layers, err := b.mergeAll(ctx, groups)
	if err != nil {
		return Result{}, err
	}
	trees, conflicts, err := makeViews(c, payloads)
	if err != nil {
		return Result{}, err
	}
	env := environment(trees, rootsOf(c, payloads), externalsOf(externals, &base))
	plan, err := planTop(c, base, payloads, trees, env)
	if err != nil {
		return Result{}, err
	}
	top, err := b.writeLayer(func(w *tar.Writer) error { return plan.write(ctx, w, b, payloads) })
	if err != nil {
		return Result{}, err
	}
	record := c.Record(container.Engine{Name: "assemble", Template: template, Base: c.Base.model(), Inputs: viewRules(c)})
	img := draft{base: base, labels: c.ImageLabels(record, c.Base.model(), time.Time{})}
	for i, g := range groups {
		img.add(layers[i], describe(g))
	}
	img.add(top, "view, environment and files")
	img.env = env
	if record.Digest, err = img.write(b.blobs(), c, dir); err != nil {
		return Result{}, err
	}
	result := Result{Record: record, Packages: packages, Externals: externals, Conflicts: conflicts, Layers: len(img.layers())}
	for _, l := range img.layers() {
		result.Size += l.Size
	}
	for _, p := range payloads {
		if p.fetched {
			result.Fetched++
		}
	}
	return result, nil
}

// selectPackages returns what the roots need at run time.
func selectPackages(c Container) (packages, externals []*buildcache.Spec, err error) {
	specs := c.Lock.Closure(c.Roots, buildcache.Runtime)
	slices.Reverse(specs)
	for _, spec := range specs {
		if spec.External {
			externals = append(externals, spec)
			continue
		}
		if arch := buildcache.Architecture(spec.Target); spec.Platform != "linux" || "linux/"+arch != c.Platform {
			return nil, nil, fmt.Errorf("the lockfile is for another platform: %s was built for %s on %s, not for %s", spec, spec.Target, spec.Platform, c.Platform)
		}
		packages = append(packages, spec)
	}
	if len(packages) == 0 {
		return nil, nil, errors.New("the lockfile has no package to install: every root is external")
	}
	return packages, externals, nil
}

// rootsOf returns the packages of the roots, in the definition's order.
func rootsOf(c Container, packages []payload) []payload {
	var roots []payload
	for _, hash := range c.Roots {
		for _, p := range packages {
			if p.Spec.Hash == hash {
				roots = append(roots, p)
			}
		}
	}
	return roots
}

// systemFolders is where links of packages may point outside the install tree:
// into externals, and where openssl and its kin find the system's certificates.
func systemFolders(externals []*buildcache.Spec) []string {
	folders := []string{"/etc/ssl", "/etc/pki", "/dev/null"}
	for _, spec := range externals {
		if spec.ExternalPath != "" && spec.ExternalPath != "/" {
			folders = append(folders, spec.ExternalPath)
		}
	}
	slices.Sort(folders)
	return slices.Compact(folders)
}

// fetchAll fetches in parallel and returns the payloads in the order of the
// specs. The errors of several packages come together.
func (b Builder) fetchAll(ctx context.Context, specs []*buildcache.Spec, lock *buildcache.Lockfile) ([]payload, error) {
	payloads := make([]payload, len(specs))
	errs := make([]error, len(specs))
	b.each("fetched packages", len(specs), func(i int) {
		if errs[i] = ctx.Err(); errs[i] == nil {
			payloads[i], errs[i] = b.fetch(ctx, specs[i], lock)
		}
	})
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return payloads, errors.Join(errs...)
}

// relocateAll makes layers of the packages that cannot stay as they are.
func (b Builder) relocateAll(ctx context.Context, packages []payload, c Container) error {
	errs := make([]error, len(packages))
	b.each("relocated packages", len(packages), func(i int) {
		if packages[i].relocation != nil {
			errs[i] = b.relocate(ctx, &packages[i], c.Lock, c.LockText)
		}
	})
	return errors.Join(errs...)
}

func (b Builder) mergeAll(ctx context.Context, groups [][]payload) ([]layer, error) {
	layers := make([]layer, len(groups))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, b.Fetch))
	for i, members := range groups {
		g.Go(func() (err error) {
			layers[i], err = b.layerOf(ctx, members)
			return err
		})
	}
	return layers, g.Wait()
}

// describe is a layer's line in the image's history.
func describe(group []payload) string {
	var names []string
	for _, p := range group {
		names = append(names, p.Spec.String())
	}
	return strings.Join(names, " ")
}

// draft collects an image.
type draft struct {
	base   baseLayers
	env    []variable // of the views
	labels map[string]string
	own    []v1.Descriptor
	diffs  []v1.Hash
	lines  []v1.History
}

func (d *draft) add(l layer, what string) {
	d.own = append(d.own, v1.Descriptor{MediaType: types.OCILayer, Digest: l.Digest, Size: l.Size})
	d.diffs = append(d.diffs, l.DiffID)
	d.lines = append(d.lines, v1.History{Created: v1.Time{Time: epoch.UTC()}, CreatedBy: "spacktainers: " + what})
}

func (d *draft) layers() []v1.Descriptor { return slices.Concat(d.base.Layers, d.own) }
