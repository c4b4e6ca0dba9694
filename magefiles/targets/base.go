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

// Base builds builder and runtime where they are missing or not up to date.
func (Bare) Base(ctx context.Context,
	platform *string, // linux/amd64 or linux/arm64 (default: this machine's)
	force *bool, // build them anew
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	return buildBases(ctx, []string{podman.Builder, podman.Runtime}, platform, force, json)
}

// Build makes the base image NAME on this machine, unless it is there and up
// to date: builder, runtime or singularitah.
func (Base) Build(ctx context.Context, name string,
	platform *string, // linux/amd64 or linux/arm64 (default: this machine's)
	force *bool, // build it anew, with the system's packages of today
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	if !slices.Contains(podman.Bases, name) {
		return unknown("base image", name, podman.Bases)
	}
	return buildBases(ctx, []string{name}, platform, force, json)
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

func buildBases(ctx context.Context, names []string, platform *string, force, json *bool) error {
	a, err := start()
	if err != nil {
		return err
	}
	want, err := parsePlatform(or(platform, native))
	if err != nil {
		return err
	}
	local, err := a.podman(ctx)
	if err != nil {
		return err
	}
	g, namespace, err := a.gateway(nil)
	if err != nil {
		return err
	}
	defer g.Close()
	local.Namespace = namespace
	if want.String() != native {
		if err := a.emulation(ctx, want.String()); err != nil {
			return err
		}
	}
	local.Run = command.Exec(nil) // what is said is in the log, and at its end in the error
	progress := a.newProgress(ctx)
	defer progress.Close()
	built := []builtBase{}
	for _, b := range a.bases(want.String()) {
		if !slices.Contains(names, b.Name) {
			continue
		}
		b.Watch = progress.event
		b, _, err := b.Pin(ctx, local)
		if err != nil {
			return err
		}
		made, err := b.Ensure(ctx, local, filepath.Join(workDir, "base"), want.String() == native, or(force, false))
		if err != nil {
			return err
		}
		progress.event(podman.Event{Container: "base image " + b.Name, Platform: b.Platform, Done: true})
		a.Log.Info("base image", "name", b.Name, "platform", b.Platform, "image", b.Tag(), "next", "mage containers")
		built = append(built, builtBase{b.Name, b.Platform, b.Tag(), string(made.ID), made.Digest, made.Key})
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

// native is the platform of this machine.
const native = "linux/" + runtime.GOARCH

// bases describes the base images for a platform.
func (a *app) bases(platform string) []podman.Base {
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
		b := podman.Base{Name: name, Platform: platform, Files: baseFiles(name), From: from, Pull: a.pull, Packages: a.config.Packages[name]}
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
