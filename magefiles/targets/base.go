package targets

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/magefile/mage/mg"

	"github.com/openbraininstitute/spacktainers/builder"
	"github.com/openbraininstitute/spacktainers/internal/command"
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
	spackRef *string, // branch, tag or commit of Spack for the builder (default: the configured one)
	force *bool, // build them anew
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	return buildBases(ctx, []string{podman.Builder, podman.Runtime}, platform, registry, spackRef, force, json)
}

// Build makes the base image NAME on this machine, unless it is there and up
// to date: builder, runtime or singularitah. What publish:base has sent to the
// registry is taken from there.
func (Base) Build(ctx context.Context, name string,
	platform *string, // linux/amd64, linux/arm64, or both by commas (default: this machine's)
	registry *string, // prefix to take it from (default: the first one configured; none: build it)
	spackRef *string, // branch, tag or commit of Spack for the builder (default: the configured one)
	force *bool, // build it anew, with the system's packages of today
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	if !slices.Contains(podman.Bases, name) {
		return unknown("base image", name, podman.Bases)
	}
	return buildBases(ctx, []string{name}, platform, registry, spackRef, force, json)
}

// A builtBase is a base image as base:build shows it.
type builtBase struct {
	Name     string `json:"name"`
	Platform string `json:"platform"`
	Image    string `json:"image"`
	ID       string `json:"id"`
	Digest   string `json:"digest"`
	Key      string `json:"build_key"`
}

func buildBases(ctx context.Context, names []string, platform, registry, spackRef *string, force, json *bool) error {
	a, err := startWith(spackRef)
	if err != nil {
		return err
	}
	platforms := list(or(platform, native))
	for _, p := range platforms {
		if _, err := parsePlatform(p); err != nil {
			return err
		}
	}
	built := []builtBase{}
	for _, p := range platforms {
		_, bases, err := a.ensureBases(ctx, names, p, registry, or(force, false))
		if err != nil {
			return err
		}
		for _, b := range bases {
			built = append(built, builtBase{b.Name, b.Platform, b.Tag(), string(b.built.ID), b.built.Digest, b.built.Key})
		}
	}
	if or(json, false) {
		return a.JSON(built)
	}
	for _, b := range built {
		if err := a.Print("%s %s", b.Image, b.Digest); err != nil {
			return err
		}
	}
	return nil
}

// An ensuredBase is a base image that is in podman's storage.
type ensuredBase struct {
	podman.Base // pinned
	built       podman.BuiltBase
}

// ensureBases builds base images for a platform on this machine, or takes them from a registry,
// where they are missing or not up to date. It returns the podman that has them.
func (a *app) ensureBases(ctx context.Context, names []string, platform string, registry *string, force bool) (podman.Podman, []ensuredBase, error) {
	want, err := parsePlatform(platform)
	if err != nil {
		return podman.Podman{}, nil, err
	}
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
	if want.String() != native {
		if err := a.emulation(ctx, want.String()); err != nil {
			return local, nil, err
		}
	}
	progress := a.newProgress(ctx)
	defer progress.Close()
	var built []ensuredBase
	for _, b := range a.bases(want.String(), registry) {
		if !slices.Contains(names, b.Name) {
			continue
		}
		b.Watch = progress.event
		b, _, err := b.Pin(ctx, inNetwork)
		if err != nil {
			return local, nil, err
		}
		made, err := b.Ensure(ctx, inNetwork, filepath.Join(workDir, "base"), want.String() == native, force)
		if err != nil {
			return local, nil, err
		}
		progress.event(podman.Event{Container: "base image " + b.Name, Platform: b.Platform, Done: true})
		a.Log.Info("base image", "name", b.Name, "platform", b.Platform, "image", b.Tag(), "next", "mage containers")
		built = append(built, ensuredBase{b, made})
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
