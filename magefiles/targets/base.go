package targets

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/magefile/mage/mg"

	"github.com/openbraininstitute/spacktainers/builder"
	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/container"
	"github.com/openbraininstitute/spacktainers/internal/podman"
	baseruntime "github.com/openbraininstitute/spacktainers/runtime"
	"github.com/openbraininstitute/spacktainers/singularitah"
)

// Base are the images that containers are built with: builder, runtime and
// singularitah.
type Base mg.Namespace

// Base builds builder and runtime where they are missing or not up to date, or
// takes them from the registry.
func (Bare) Base(ctx context.Context,
	platform *string, // linux/amd64, linux/arm64, or both by commas (default: this machine's)
	registry *string, // prefix to take them from (default: the first one configured; none: build them)
	spackRef *string, // --spack-ref: branch, tag or commit of Spack for the builder (default: the configured one)
	force *bool, // build them anew
	dryRun *bool, // --dry-run: say what would be built or taken, and why, and change nothing
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	return buildBases(ctx, []string{podman.Builder, podman.Runtime}, platform, registry, spackRef, force, dryRun, json)
}

// Build makes the base image NAME on this machine, unless it is there and up
// to date: builder, runtime or singularitah. What publish:base has sent to the
// registry is taken from there.
func (Base) Build(ctx context.Context, name string,
	platform *string, // linux/amd64, linux/arm64, or both by commas (default: this machine's)
	registry *string, // prefix to take it from (default: the first one configured; none: build it)
	spackRef *string, // --spack-ref: branch, tag or commit of Spack for the builder (default: the configured one)
	force *bool, // build it anew, with the system's packages of today
	dryRun *bool, // --dry-run: say whether it would be built or taken, and why, and change nothing
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	if !slices.Contains(podman.Bases, name) {
		return unknown("base image", name, podman.Bases)
	}
	return buildBases(ctx, []string{name}, platform, registry, spackRef, force, dryRun, json)
}

// A builtBase is a base image as base:build shows it.
type builtBase struct {
	Name     string             `json:"name"`
	Platform string             `json:"platform"`
	State    string             `json:"state"`             // up to date, built or taken; with --dry-run up to date, to build or to take
	Image    string             `json:"image"`             // its name in podman's storage
	ID       string             `json:"id,omitempty"`      // in podman's storage; empty: it is not there yet
	Digest   string             `json:"digest,omitempty"`  // of its manifest
	Key      string             `json:"build_key"`         // that it has or is to have
	Changes  []container.Change `json:"changes,omitempty"` // since the one in podman's storage
}

func buildBases(ctx context.Context, names []string, platform, registry, spackRef *string, force, dryRun, json *bool) error {
	a, err := startWith(spackRef)
	if err != nil {
		return err
	}
	plans, err := a.planBases(ctx, names, or(platform, native), registry, or(force, false))
	if err != nil {
		return err
	}
	var built []builtBase
	if or(dryRun, false) {
		for _, p := range plans {
			built = append(built, showBase(p, p.Here, "to build", "to take"))
		}
	} else {
		_, bases, err := a.applyBases(ctx, plans)
		if err != nil {
			return err
		}
		for i, p := range plans {
			built = append(built, showBase(p, bases[i].built, "built", "taken"))
		}
	}
	switch {
	case or(json, false):
		return a.JSON(built)
	case or(dryRun, false):
		return a.showBasePlans(plans, built, or(force, false))
	}
	for _, b := range built {
		if err := a.Print("%s %s", b.Image, b.Digest); err != nil {
			return err
		}
	}
	return nil
}

func showBase(p podman.BasePlan, is podman.BuiltBase, build, take string) builtBase {
	b := builtBase{Name: p.Base.Name, Platform: p.Base.Platform, State: "up to date", Image: p.Base.Tag(), Key: p.Key, Changes: p.Changes}
	if is.Key == p.Key {
		b.ID, b.Digest = string(is.ID), is.Digest
	}
	switch {
	case p.ToBuild:
		b.State = build
	case p.ToTake != nil:
		b.State = take
	}
	return b
}

// showBasePlans is a table with a line for each reason.
func (a *app) showBasePlans(plans []podman.BasePlan, shown []builtBase, force bool) error {
	var cells [][]string
	for i, p := range plans {
		var why []string
		switch {
		case !p.ToBuild && p.ToTake == nil:
			why = append(why, "in podman's storage")
		case force:
			why = append(why, "--force")
		case p.Here.ID == "":
			why = append(why, "there is none")
		case len(p.Changes) == 0:
			why = append(why, "the one in podman's storage was made otherwise")
		}
		if p.ToTake != nil {
			why = append(why, "the registry has it")
		}
		for _, change := range p.Changes {
			why = append(why, change.String())
		}
		cells = append(cells, planRow{[]string{shown[i].Name}, shown[i].Platform, shown[i].State, why}.cells()...)
	}
	return a.Table([]string{"base image", "platform", "state", "why"}, cells)
}

// planBases says what is to be done about base images for platforms, by commas, and changes nothing.
// What does not answer is told of all at once.
func (a *app) planBases(ctx context.Context, names []string, platforms string, registry *string, force bool) ([]podman.BasePlan, error) {
	var bases []podman.Base
	for _, p := range slices.Compact(slices.Sorted(slices.Values(list(platforms)))) {
		want, err := parsePlatform(p)
		if err != nil {
			return nil, err
		}
		for _, b := range a.bases(want.String(), registry) {
			if slices.Contains(names, b.Name) {
				bases = append(bases, b)
			}
		}
	}
	if len(bases) == 0 {
		return nil, wrongCall("--platform is %q: linux/amd64, linux/arm64 or both by commas", platforms)
	}
	local, err := a.ownPodman()
	if err != nil {
		return nil, err
	}
	local.Run = command.Exec(nil) // what is said stands in the error
	defer a.busy(ctx, "base images", "looking at what there is")()
	plans, errs := make([]podman.BasePlan, len(bases)), make([]error, len(bases))
	var group sync.WaitGroup
	for i, b := range bases {
		group.Go(func() {
			if b, _, errs[i] = b.Pin(ctx, local); errs[i] == nil {
				plans[i], errs[i] = b.Plan(ctx, local, force)
			}
		})
	}
	group.Wait()
	return plans, errors.Join(errs...)
}

// An ensuredBase is a base image that is in podman's storage.
type ensuredBase struct {
	podman.Base                  // pinned
	built       podman.BuiltBase // no ID: only a dry run knows it
	published   v1.Image         // that is not here, but in the registry; of a dry run
}

// applyBases builds base images on this machine, or takes them from a registry, as it was planned. It
// returns them, and the podman that has them.
func (a *app) applyBases(ctx context.Context, plans []podman.BasePlan) (podman.Podman, []ensuredBase, error) {
	local, err := a.podman(ctx)
	if err != nil {
		return local, nil, err
	}
	g, namespace, err := a.gateway(nil)
	if err != nil {
		return local, nil, err
	}
	defer g.Close()
	local.Run = command.Exec(nil) // what is said is in the log, and at its end in the error
	inNetwork := local
	inNetwork.Namespace = namespace
	for _, p := range plans {
		if p.ToBuild && p.Base.Platform != native {
			if err := a.emulation(ctx, p.Base.Platform); err != nil {
				return local, nil, err
			}
		}
	}
	progress := a.newProgress(ctx)
	defer progress.Close()
	var built []ensuredBase
	for _, p := range plans {
		p.Base.Watch = progress.event
		made, err := p.Apply(ctx, inNetwork, filepath.Join(workDir, "base"), p.Base.Platform == native)
		if err != nil {
			return local, nil, err
		}
		b := p.Base
		progress.event(podman.Event{Container: "base image " + b.Name, Platform: b.Platform, Done: true})
		a.Log.Info("base image", "name", b.Name, "platform", b.Platform, "image", b.Tag(), "next", "mage containers")
		built = append(built, ensuredBase{Base: b, built: made})
	}
	return local, built, nil
}

// native is the platform of this machine.
const native = "linux/" + runtime.GOARCH

// bases describes the base images for a platform, which a registry may have: the given prefix, or
// the first configured one.
func (a *app) bases(platform string, registry *string) []podman.Base {
	published := a.publishedBase(registry)
	from := a.config.BaseImage
	if own := a.config.Platforms[platform].BaseImage; own != "" {
		from = own
	}
	spack := podman.Source{URL: a.config.Spack.URL, Ref: a.config.Spack.Ref}
	var repos []podman.Source
	for _, r := range a.config.Spack.Repos {
		repos = append(repos, podman.Source{URL: r.URL, Ref: r.Ref, Paths: r.Paths})
	}
	var bases []podman.Base
	for _, name := range podman.Bases {
		b := podman.Base{Name: name, Platform: platform, Files: baseFiles(name), From: from, Pull: a.pull, Packages: a.config.Packages[name], Published: published}
		switch name {
		case podman.Builder:
			b.Spack, b.Repos = &spack, repos
		case podman.Singularitah:
			b.From = withApptainer(from)
		}
		bases = append(bases, b)
	}
	return bases
}

// baseFiles are the files of a base image: those of its folder, or where the repository has none
// those that the program brings along.
func baseFiles(name string) fs.FS {
	dir := filepath.Join(root, name)
	if _, err := os.Stat(filepath.Join(dir, "Dockerfile")); err == nil {
		return os.DirFS(dir)
	}
	return map[string]fs.FS{podman.Builder: builder.Files, podman.Runtime: baseruntime.Files, podman.Singularitah: singularitah.Files}[name]
}

// withApptainer is a base image whose archive has Apptainer, from where the
// other one comes: neither Debian's nor Ubuntu's stable releases have it.
func withApptainer(from string) string {
	if strings.HasPrefix(from, "debootstrap:") {
		return "debootstrap:sid"
	}
	return "docker.io/library/debian:sid"
}
