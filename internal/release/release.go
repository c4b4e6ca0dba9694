// Package release makes files of a Go program that others download: one for each platform, the list
// of modules that is in each, and checksums of all. Whoever builds the same commit with the same Go
// gets the same bytes.
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
}

// A File is one that was made.
type File struct {
	Name     string `json:"name"`               // in the folder
	Platform string `json:"platform,omitempty"` // of a program
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
		system, arch, _ := strings.Cut(platform, "/")
		name := fmt.Sprintf("%s-%s-%s", o.Name, system, arch)
		path := filepath.Join(out, name)
		if err := run(ctx, buildCmd(o, path, system, arch)); err != nil {
			return nil, fmt.Errorf("build %s for %s: %w", o.Name, platform, err)
		}
		info, err := buildinfo.ReadFile(path)
		if err != nil {
			return nil, err
		}
		bill, err := billOf(info)
		if err != nil {
			return nil, err
		}
		if err := atomicfile.Write(path+".cdx.json", bill, 0o644); err != nil {
			return nil, err
		}
		for _, made := range []File{{Name: name, Platform: platform}, {Name: name + ".cdx.json"}} {
			if made.Size, made.SHA256, err = sum(filepath.Join(out, made.Name)); err != nil {
				return nil, err
			}
			files = append(files, made)
		}
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return files, atomicfile.Write(filepath.Join(out, Checksums), checksums(files), 0o644)
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

// billOf lists the modules of a program, as Go has written them into it.
func billOf(info *debug.BuildInfo) ([]byte, error) {
	component := func(m *debug.Module) (cyclonedx.Component, error) {
		if m.Path == "" {
			return cyclonedx.Component{}, errors.New("a module of the program has no name")
		}
		if m.Replace != nil {
			m = m.Replace
		}
		url := "pkg:golang/" + m.Path + "@" + m.Version
		return cyclonedx.Component{BOMRef: url, Type: cyclonedx.ComponentTypeLibrary, Name: m.Path, Version: m.Version, PackageURL: url}, nil
	}
	main, err := component(&info.Main)
	if err != nil {
		return nil, err
	}
	main.Type = cyclonedx.ComponentTypeApplication
	goURL := "pkg:golang/std@" + strings.TrimPrefix(info.GoVersion, "go")
	components := []cyclonedx.Component{{BOMRef: goURL, Type: cyclonedx.ComponentTypeLibrary, Name: "std", Version: strings.TrimPrefix(info.GoVersion, "go"), PackageURL: goURL}}
	for _, m := range info.Deps {
		c, err := component(m)
		if err != nil {
			return nil, err
		}
		components = append(components, c)
	}
	bom := cyclonedx.NewBOM()
	bom.Metadata = &cyclonedx.Metadata{Component: &main}
	bom.Components = &components
	var b bytes.Buffer
	err = cyclonedx.NewBOMEncoder(&b, cyclonedx.BOMFileFormatJSON).SetPretty(true).Encode(bom)
	return b.Bytes(), err
}
