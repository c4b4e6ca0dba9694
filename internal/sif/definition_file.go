package sif

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/internal/definition"
	"github.com/openbraininstitute/spacktainers/internal/image"
)

// A DefinitionFile is an Apptainer definition file: a SIF that is made with apptainer, from an
// image of a registry or what else it can start from.
type DefinitionFile struct {
	Name     string
	Version  string
	Platform string
	Path     string        // of the .def
	Inputs   []image.Input // the file, by digest
}

func (file DefinitionFile) arch() string {
	_, arch, _ := strings.Cut(file.Platform, "/")
	return arch
}

// KindDefinitionFile is what records call such SIFs. They belong to no branch.
const KindDefinitionFile = "apptainer"

// BuildDefinitionFile makes the SIF of a definition file. Images of registries
// are resolved to a digest first, which the file is then built from: a new image
// under the same tag, or an edit of the text, is another build. Of other sources
// nothing tells whether they have changed.
func (b Builder) BuildDefinitionFile(ctx context.Context, file DefinitionFile) (r Record, built bool, err error) {
	apptainer, ok := b.Engine.(Apptainer)
	if !ok {
		return Record{}, false, fmt.Errorf("%s runs commands in the image, for which there must be apptainer: give --engine=apptainer", file.Path)
	}
	r, pinned, last, err := b.describe(ctx, file)
	if err != nil {
		return Record{}, false, err
	}
	if last.digest == "" && b.Warn != nil {
		b.Warn(fmt.Sprintf("%s starts from %s, which has no digest: it is built again when its text changes, or with --force", file.Path, last.ref))
	}
	if old, ok, err := b.there(r); ok || err != nil {
		return old, false, err
	}
	r, err = b.Folder.Create(r, func(path string) error {
		def, err := filepath.Abs(path + ".def")
		if err != nil {
			return err
		}
		defer os.Remove(def)
		if err := os.WriteFile(def, []byte(pinned), 0o644); err != nil {
			return err
		}
		// Paths in %files are relative to where apptainer runs, which is here.
		here, err := os.Getwd()
		if err != nil {
			return err
		}
		if err := apptainer.build(ctx, b, buildArgs{arch: file.arch(), from: def, reads: here, noHTTPS: last.plain}, path); err != nil {
			return err
		}
		return b.Signer.sign(ctx, path)
	})
	return r, true, err
}

// Describe says what the SIF of a definition file would be if it were made now, for which images of
// registries are resolved and nothing is made: its size, checksum and engine are left out.
func (b Builder) Describe(ctx context.Context, file DefinitionFile) (Record, error) {
	r, _, _, err := b.describe(ctx, file)
	return r, err
}

// describe also returns the text with digests, and what the final stage starts from.
func (b Builder) describe(ctx context.Context, file DefinitionFile) (r Record, pinned string, last stageSource, err error) {
	text, err := os.ReadFile(file.Path)
	if err != nil {
		return Record{}, "", last, err
	}
	pinned, sources, err := b.pin(ctx, string(text), file.Platform)
	if err != nil {
		return Record{}, "", last, fmt.Errorf("%s: %w", file.Path, err)
	}
	if len(sources) == 0 {
		return Record{}, "", last, fmt.Errorf("%s has no Bootstrap", file.Path)
	}
	last = sources[len(sources)-1]
	name, err := NewName(file.Name, file.Version, "", file.arch())
	if err != nil {
		return Record{}, "", last, err
	}
	r = Record{
		File: name.String(), Name: file.Name, Version: file.Version, Platform: file.Platform, Kind: KindDefinitionFile,
		Digest: last.digest, Source: last.ref, BuildKey: file.buildKey(sources), Compression: b.Compression, SignedBy: b.Signer.Fingerprint(),
	}
	if b.Engine != nil {
		r.Engine = b.Engine.Name()
	}
	return r, pinned, last, nil
}

// buildKey is the digest of all that decides what the SIF is.
func (file DefinitionFile) buildKey(sources []stageSource) string {
	inputs := append([]image.Input{{Kind: "template", Digest: template}, {Kind: "platform", Digest: file.Platform}}, file.Inputs...)
	for _, s := range sources {
		if s.digest != "" {
			inputs = append(inputs, image.Input{Kind: "source", Name: s.ref, Digest: s.digest})
		}
	}
	return image.BuildKey(inputs)
}

// A Pull opens the image of a registry that a reference means for a platform.
type Pull func(ctx context.Context, ref string, platform v1.Platform) (v1.Image, error)

// A stageSource is what a stage starts from.
type stageSource struct {
	ref    string // as written; with its agent, library://ubuntu:22.04, where that is no registry's
	digest string // of a registry's image; of others there is none
	plain  bool   // spoken to in plain http: a registry on loopback
}

// pin writes the digest of each image of a registry into a definition file.
func (b Builder) pin(ctx context.Context, text, platform string) (string, []stageSource, error) {
	var sources []stageSource
	for _, stage := range definition.Stages([]byte(text)) {
		if stage.Agent != "docker" {
			sources = append(sources, stageSource{ref: strings.TrimSuffix(stage.Agent+"://"+stage.Image(), "://")})
			continue
		}
		source, pinned, err := b.resolve(ctx, stage.Image(), platform)
		if err != nil {
			return "", nil, err
		}
		sources, text = append(sources, source), stage.WithImage(text, pinned)
	}
	return text, sources, nil
}

// resolve asks a registry which image a reference means for a platform.
func (b Builder) resolve(ctx context.Context, text, platform string) (stageSource, string, error) {
	ref, err := name.ParseReference(text)
	if err != nil {
		return stageSource{}, "", err
	}
	wanted, err := v1.ParsePlatform(platform)
	if err != nil {
		return stageSource{}, "", err
	}
	img, err := b.Pull(ctx, text, *wanted)
	if err != nil {
		return stageSource{}, "", fmt.Errorf("resolve %w", err)
	}
	digest, err := img.Digest()
	if err != nil {
		return stageSource{}, "", err
	}
	source := stageSource{ref: text, digest: digest.String(), plain: ref.Context().Scheme() == "http"}
	return source, ref.Context().Digest(digest.String()).Name(), nil
}
