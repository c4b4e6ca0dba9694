package sif

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/internal/image"
)

// A DefinitionFile is an Apptainer definition file: a SIF that is made from an image
// of a registry, with apptainer.
type DefinitionFile struct {
	Name     string
	Version  string
	Platform string
	Path     string        // of the .def
	Inputs   []image.Input // the file, by digest
}

// KindDefinitionFile is what records call such SIFs. They belong to no branch.
const KindDefinitionFile = "apptainer"

// BuildDefinitionFile makes the SIF of a definition file. Its source is resolved to a
// digest first, which the file is then built from: a new image under the same
// tag, or an edit of the text, is another build.
func (b Builder) BuildDefinitionFile(ctx context.Context, file DefinitionFile) (r Record, built bool, err error) {
	apptainer, ok := b.Engine.(Apptainer)
	if !ok {
		return Record{}, false, fmt.Errorf("%s runs commands in the image, for which there must be apptainer: give --engine=apptainer", file.Path)
	}
	text, err := os.ReadFile(file.Path)
	if err != nil {
		return Record{}, false, err
	}
	pinned, sources, err := b.pin(ctx, string(text), file.Platform)
	if err != nil {
		return Record{}, false, fmt.Errorf("%s: %w", file.Path, err)
	}
	if len(sources) == 0 {
		return Record{}, false, fmt.Errorf("%s starts from no image of a registry: there is no digest to record", file.Path)
	}
	last := sources[len(sources)-1]
	_, arch, _ := strings.Cut(file.Platform, "/")
	name, err := NewName(file.Name, file.Version, "", arch)
	if err != nil {
		return Record{}, false, err
	}
	inputs := append([]image.Input{{Kind: "template", Digest: template}, {Kind: "platform", Digest: file.Platform}}, file.Inputs...)
	for _, s := range sources {
		inputs = append(inputs, image.Input{Kind: "source", Name: s.ref, Digest: s.digest.String()})
	}
	r = Record{
		File: name.String(), Name: file.Name, Version: file.Version, Platform: file.Platform, Kind: KindDefinitionFile,
		Digest: last.digest.String(), Source: last.ref, BuildKey: image.BuildKey(inputs), Compression: b.Compression, Engine: b.Engine.Name(), SignedBy: b.Signer.Fingerprint(),
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
		if err := apptainer.build(ctx, b, buildArgs{arch: arch, from: def, reads: here, noHTTPS: last.plain}, path); err != nil {
			return err
		}
		return b.Signer.sign(ctx, path)
	})
	return r, true, err
}

// A Pull opens the image of a registry that a reference means for a platform.
type Pull func(ctx context.Context, ref string, platform v1.Platform) (v1.Image, error)

// A pinnedSource is an image that a stage starts from.
type pinnedSource struct {
	ref    string // as written
	digest v1.Hash
	plain  bool // spoken to in plain http: a registry on loopback
}

var headerLine = regexp.MustCompile(`^(\s*)(\w+)(\s*:\s*)(\S+)(.*)$`)

// pin writes the digest of each source into a definition file. Stages whose
// image is in several keys (Registry, Namespace) are refused.
func (b Builder) pin(ctx context.Context, text, platform string) (string, []pinnedSource, error) {
	var out strings.Builder
	var sources []pinnedSource
	agent, header := "", false
	for line := range strings.Lines(text) {
		m := headerLine.FindStringSubmatch(strings.TrimRight(line, "\r\n"))
		key := ""
		if m != nil {
			key = strings.ToLower(m[2])
		}
		switch {
		case strings.HasPrefix(strings.TrimSpace(line), "%"):
			header = false
		case key == "bootstrap":
			agent, header = strings.ToLower(m[4]), true
		case header && agent == "docker" && (key == "registry" || key == "namespace"):
			return "", nil, fmt.Errorf("%s stands in a key of its own: write it into From, so that its digest can be told", m[2])
		case header && agent == "docker" && key == "from":
			source, digested, err := b.resolve(ctx, m[4], platform)
			if err != nil {
				return "", nil, err
			}
			sources = append(sources, source)
			line = m[1] + m[2] + m[3] + digested + m[5] + "\n"
		}
		out.WriteString(line)
	}
	return out.String(), sources, nil
}

// resolve asks a registry which image a reference means for a platform.
func (b Builder) resolve(ctx context.Context, text, platform string) (pinnedSource, string, error) {
	ref, err := name.ParseReference(text)
	if err != nil {
		return pinnedSource{}, "", err
	}
	wanted, err := v1.ParsePlatform(platform)
	if err != nil {
		return pinnedSource{}, "", err
	}
	img, err := b.Pull(ctx, text, *wanted)
	if err != nil {
		return pinnedSource{}, "", fmt.Errorf("resolve %w", err)
	}
	digest, err := img.Digest()
	if err != nil {
		return pinnedSource{}, "", err
	}
	source := pinnedSource{ref: text, digest: digest, plain: ref.Context().Scheme() == "http"}
	return source, ref.Context().Digest(digest.String()).Name(), nil
}
