// Package release makes files of a Go program that others download: one for each platform, an image
// with it for each, the list of what is in each, and checksums of all. Whoever builds the same commit
// with the same Go, and for images on the same packages, gets the same bytes.
package release

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"

	"github.com/openbraininstitute/spacktainers/internal/atomicfile"
	"github.com/openbraininstitute/spacktainers/internal/command"
)

// Options say what is made.
type Options struct {
	Dir       string   // the module's folder, in which go runs; empty: here
	Package   string   // the program's package, such as ./cmd/spacktainers
	Name      string   // of the files, before the platform
	Out       string   // the folder for them; what else is in it stays
	Platforms []string // such as linux/amd64
	Image     *Image   // that is made with each program; nil: none
}

// A File is one that was made.
type File struct {
	Name     string `json:"name"`               // in the folder
	Platform string `json:"platform,omitempty"` // of a program or image
	Size     int64  `json:"size"`               // in bytes
	SHA256   string `json:"sha256"`             // in hexadecimal
}

// Checksums is the name of the file with the checksums of all others, as sha256sum reads it.
const Checksums = "SHA256SUMS"

// Build makes the programs, for each the list of its modules in CycloneDX's format, and the
// checksums. The programs are static and hold no path of this machine.
func Build(ctx context.Context, run command.Runner, o Options) ([]File, error) {
	out, err := filepath.Abs(o.Out)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, err
	}
	var files []File
	for _, platform := range o.Platforms {
		made, err := o.program(ctx, run, out, platform)
		if err == nil && o.Image != nil {
			var more []File
			more, err = o.image(ctx, out, platform)
			made = append(made, more...)
		}
		if err != nil {
			return nil, err
		}
		for _, f := range made {
			if f.Size, f.SHA256, err = sum(filepath.Join(out, f.Name)); err != nil {
				return nil, err
			}
			files = append(files, f)
		}
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return files, atomicfile.Write(filepath.Join(out, Checksums), checksums(files), 0o644)
}

// program makes the program for a platform, and its bill.
func (o Options) program(ctx context.Context, run command.Runner, out, platform string) ([]File, error) {
	system, arch, _ := strings.Cut(platform, "/")
	name := o.fileName(platform)
	path := filepath.Join(out, name)
	if err := run(ctx, buildCmd(o, path, system, arch)); err != nil {
		return nil, fmt.Errorf("build %s for %s: %w", o.Name, platform, err)
	}
	main, modules, err := modulesOf(path)
	if err != nil {
		return nil, err
	}
	return []File{{Name: name, Platform: platform}, {Name: name + bill}}, writeBill(path, main, modules)
}

// fileName is that of the program for a platform.
func (o Options) fileName(platform string) string {
	return o.Name + "-" + strings.ReplaceAll(platform, "/", "-")
}

// buildCmd is the same on every machine: what a user's settings say of flags does not count.
func buildCmd(o Options, path, system, arch string) command.Cmd {
	return command.Cmd{
		Args: []string{"go", "build", "-trimpath", "-buildvcs=auto", "-mod=readonly", "-ldflags=-s -w -buildid=", "-o", path, o.Package},
		Dir:  o.Dir,
		Env:  []string{"CGO_ENABLED=0", "GOOS=" + system, "GOARCH=" + arch, "GOFLAGS=", "GOEXPERIMENT=", "GOAMD64=v1", "GOARM64=v8.0"},
	}
}

func sum(path string) (size int64, digest string, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer file.Close()
	hash := sha256.New()
	size, err = io.Copy(hash, file)
	return size, hex.EncodeToString(hash.Sum(nil)), err
}

func checksums(files []File) []byte {
	var b bytes.Buffer
	for _, f := range files {
		fmt.Fprintf(&b, "%s  %s\n", f.SHA256, f.Name)
	}
	return b.Bytes()
}

// bill ends the name of the file that lists what is in another one, in CycloneDX's format.
const bill = ".cdx.json"

func writeBill(path string, main cyclonedx.Component, components []cyclonedx.Component) error {
	bom := cyclonedx.NewBOM()
	bom.Metadata = &cyclonedx.Metadata{Component: &main}
	bom.Components = &components
	var b bytes.Buffer
	if err := cyclonedx.NewBOMEncoder(&b, cyclonedx.BOMFileFormatJSON).SetPretty(true).Encode(bom); err != nil {
		return err
	}
	return atomicfile.Write(path+bill, b.Bytes(), 0o644)
}

// modulesOf lists the modules of a program, its own first, as Go has written them into it.
func modulesOf(path string) (main cyclonedx.Component, all []cyclonedx.Component, err error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return main, nil, err
	}
	if main, err = moduleOf(&info.Main); err != nil {
		return main, nil, err
	}
	main.Type = cyclonedx.ComponentTypeApplication
	all = append(all, library("pkg:golang/std", "std", strings.TrimPrefix(info.GoVersion, "go")))
	for _, m := range info.Deps {
		c, err := moduleOf(m)
		if err != nil {
			return main, nil, err
		}
		all = append(all, c)
	}
	return main, all, nil
}

func moduleOf(m *debug.Module) (cyclonedx.Component, error) {
	if m.Path == "" {
		return cyclonedx.Component{}, errors.New("a module of the program has no name")
	}
	if m.Replace != nil {
		m = m.Replace
	}
	return library("pkg:golang/"+m.Path, m.Path, m.Version), nil
}

func library(url, name, version string) cyclonedx.Component {
	url += "@" + strings.ReplaceAll(version, "+", "%2B")
	return cyclonedx.Component{BOMRef: url, Type: cyclonedx.ComponentTypeLibrary, Name: name, Version: version, PackageURL: url}
}
