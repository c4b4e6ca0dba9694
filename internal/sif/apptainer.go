package sif

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/openbraininstitute/spacktainers/internal/command"
)

// Apptainer is the engine that has apptainer or singularity do it.
type Apptainer struct {
	// argv comes before the arguments of apptainer: the program alone, or
	// podman that runs it. It is told which folders the program must see.
	argv    func(folders ...string) []string
	version string // apptainer 1.4.5
	zstd    bool   // it takes arguments for mksquashfs
}

// hostPrograms are those that build SIFs, the better one first.
var hostPrograms = []string{"apptainer", "singularity"}

// HasApptainer reports whether apptainer or singularity is on this machine.
func HasApptainer() bool {
	for _, program := range hostPrograms {
		if _, err := command.LookPath(program); err == nil {
			return true
		}
	}
	return false
}

// NewApptainer finds the host's apptainer or singularity, else has podman run
// the one in an image: singularitah, as our repositories call it.
func NewApptainer(ctx context.Context, run command.Runner, singularitah string) (Apptainer, error) {
	for _, program := range hostPrograms {
		if _, err := command.LookPath(program); err == nil {
			return probe(ctx, run, func(...string) []string { return []string{program} })
		}
	}
	if _, err := command.LookPath("podman"); err != nil {
		return Apptainer{}, errors.New("none of apptainer, singularity and podman is here: install one, or use --engine=native")
	}
	found, err := probe(ctx, run, func(folders ...string) []string {
		argv := []string{"podman", "run", "--rm", "--privileged", "--network=host"}
		for _, folder := range folders {
			argv = append(argv, "--volume="+folder+":"+folder)
		}
		return append(argv, "--entrypoint="+hostPrograms[0], singularitah)
	})
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("no apptainer is here, and none runs in %s: install it, give --engine=native, or make that image with mage publish:base singularitah: %w", singularitah, err)
	}
	return found, err
}

var versionNumber = regexp.MustCompile(`\d+(\.\d+)+[\w.+-]*`)

func probe(ctx context.Context, run command.Runner, argv func(...string) []string) (Apptainer, error) {
	version, err := command.Output(ctx, run, command.Cmd{Args: append(argv(), "--version"), Clean: true})
	if err != nil {
		return Apptainer{}, err
	}
	help, err := command.Output(ctx, run, command.Cmd{Args: append(argv(), "build", "--help")})
	if err != nil {
		return Apptainer{}, err
	}
	program := "singularity"
	if strings.Contains(version, "apptainer") {
		program = "apptainer"
	}
	return Apptainer{argv: argv, version: program + " " + versionNumber.FindString(version), zstd: strings.Contains(help, "--mksquashfs-args")}, nil
}

// Name is the program and its version.
func (a Apptainer) Name() string { return a.version }

func (a Apptainer) write(ctx context.Context, b Builder, s source, path string) error {
	if s.layout == "" {
		s.layout = path + ".oci"
		defer os.RemoveAll(s.layout)
		if err := writeLayout(s); err != nil {
			return err
		}
	}
	folder, err := filepath.Abs(s.layout)
	if err != nil {
		return err
	}
	_, arch, _ := strings.Cut(s.record.Platform, "/")
	return a.build(ctx, b, buildArgs{arch: arch, from: "oci:" + folder, reads: folder}, path)
}

// writeLayout puts an image into a layout, from which apptainer can take it.
func writeLayout(s source) error {
	to, err := layout.Write(s.layout, empty.Index)
	if err != nil {
		return err
	}
	return to.AppendImage(s.image)
}

type buildArgs struct {
	arch    string
	from    string // what apptainer builds from
	reads   string // the folder that it needs for that
	noHTTPS bool
}

func (a Apptainer) build(ctx context.Context, b Builder, args buildArgs, path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	c, err := a.buildCmd(b.Compression, args, path)
	if err != nil {
		return err
	}
	if b.Step != nil {
		said := &stepWriter{log: b.Log, step: b.Step}
		defer said.Close()
		c.Stderr = said
	}
	if err := b.Run(ctx, c); err != nil {
		return err
	}
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		return fmt.Errorf("%s built nothing at %s (%w)", a.version, path, err)
	}
	return nil
}

func (a Apptainer) buildCmd(compression Compression, args buildArgs, path string) (command.Cmd, error) {
	argv := append(a.argv(filepath.Dir(path), args.reads), "build", "--force", "--arch", args.arch)
	switch {
	case compression == Gzip: // what it does by itself
	case !a.zstd:
		return command.Cmd{}, fmt.Errorf("%s compresses with gzip only: give --compression=gzip, or use --engine=native", a.version)
	default:
		argv = append(argv, "--mksquashfs-args", "-comp zstd -Xcompression-level "+Zstd.level())
	}
	if args.noHTTPS {
		argv = append(argv, "--no-https")
	}
	// %post has apptainer's own environment, but for apptainer's variables.
	return command.Cmd{Args: append(argv, path, args.from), Clean: true, Keep: []string{"APPTAINER_", "SINGULARITY_"}}, nil
}
