// Package sif turns containers into SIF files, the one file that sites with
// Apptainer or SingularityCE run, and brings them there: upload, install,
// clean-up, batch scripts.
//
// It writes a SIF by itself from an image layout (the native engine), or has
// apptainer do it. It unpacks no image to disk and needs no root. A file is
// replaced whole or not at all, and nothing old goes before what takes its
// place is verified.
package sif

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/image"
)

// template is the version of what this package makes of an image. It goes up
// whenever the same image gives other bytes.
const template = "sif-1"

// A Builder makes SIF files in a folder.
type Builder struct {
	Folder      Folder
	Run         command.Runner
	Engine      Engine
	Compression Compression
	Signer      *Signer // nil: files are not signed
	Force       bool    // build also what is there
	Pull        Pull    // asks registries for the sources of definition files

	// Watch is told how many bytes of an image have been packed, of how many. It may be nil.
	Watch func(done, of int64)

	// Step is told what apptainer is about to do; the rest of what it says goes to Log. It may be nil:
	// then all goes where Run has it.
	Step func(step string)
	Log  io.Writer

	// Warn is told, in a sentence, what of the image the SIF does not hold. It may be nil.
	Warn func(sentence string)
}

// An Engine writes the file of a SIF.
type Engine interface {
	// Name says what made the file, with what decides its bytes.
	Name() string
	// write makes a SIF at path out of an image.
	write(ctx context.Context, b Builder, s source, path string) error
}

// A source is the image that a SIF is made from.
type source struct {
	image  v1.Image
	record image.Record
	layout string // folder of its layout; empty: it is in none
}

// Build makes the SIF of a container's image. built is false where the same one
// was there already.
func (b Builder) Build(ctx context.Context, images image.Tree, from image.Record, fromBranch string) (r Record, built bool, err error) {
	r, err = b.record(from, fromBranch)
	if err != nil {
		return Record{}, false, err
	}
	r.Kind = "environment"
	if err := b.Folder.keepLock(images, from); err != nil {
		return Record{}, false, err
	}
	if old, ok, err := b.there(r); ok || err != nil {
		return old, false, err
	}
	img, err := images.Open(from)
	if err != nil {
		return Record{}, false, err
	}
	return b.build(ctx, r, source{image: img, record: from, layout: images.Dir(from.Name, from.Platform)})
}

// KindImage is what records call SIFs of images that no container of ours was
// built into. They are no release.
const KindImage = "image"

// BuildImage makes the SIF of an image that no container of ours was built
// into. from.Digest is the image's; where says where it comes from.
func (b Builder) BuildImage(ctx context.Context, img v1.Image, from image.Record, where string) (r Record, built bool, err error) {
	r, err = b.record(from, "")
	if err != nil {
		return Record{}, false, err
	}
	r.Kind, r.Source = KindImage, where
	if old, ok, err := b.there(r); ok || err != nil {
		return old, false, err
	}
	return b.build(ctx, r, source{image: img, record: from})
}

func (b Builder) record(from image.Record, fromBranch string) (Record, error) {
	_, arch, _ := strings.Cut(from.Platform, "/")
	name, err := NewName(from.Name, from.Version, fromBranch, arch)
	if err != nil {
		return Record{}, err
	}
	return Record{
		File: name.String(), Name: from.Name, Version: from.Version, Branch: fromBranch, Platform: from.Platform,
		Digest: from.Digest.String(), BuildKey: from.BuildKey, Lock: from.Lock,
		Compression: b.Compression, Engine: b.Engine.Name(), SignedBy: b.Signer.Fingerprint(),
	}, nil
}

func (b Builder) build(ctx context.Context, r Record, s source) (Record, bool, error) {
	r, err := b.Folder.Create(r, func(path string) error {
		if err := b.Engine.write(ctx, b, s, path); err != nil {
			return err
		}
		return b.Signer.sign(ctx, path)
	})
	return r, true, err
}

// there returns the record of a file that need not be built again.
func (b Builder) there(r Record) (Record, bool, error) {
	old, err := b.Folder.Read(r.File)
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, false, nil
	}
	return old, err == nil && !b.Force && old.same(r), err
}

// same reports whether two files were made from the same things in the same way.
func (r Record) same(other Record) bool {
	other.Size, other.SHA256 = r.Size, r.SHA256
	return r == other
}

// Native is the engine of this package: it needs no root, no apptainer, and no
// room for an unpacked image.
type Native struct{ packer packer }

// NewNative looks for a program that writes squashfs.
func NewNative() (Native, error) {
	p, err := findPacker()
	return Native{p}, err
}

// Name is native, and the program behind it: each writes other bytes.
func (n Native) Name() string { return template + "/" + n.packer.program }

func (n Native) write(ctx context.Context, b Builder, s source, path string) error {
	config, err := s.image.ConfigFile()
	if err != nil {
		return err
	}
	layers, err := s.image.Layers()
	if err != nil {
		return err
	}
	t, err := flatten(ctx, layers)
	if err != nil {
		return err
	}
	if lost := t.leftOut(); lost != "" && b.Warn != nil {
		b.Warn(lost)
	}
	f := newApptainerFiles(s, config)
	if err := t.addApptainerFiles(f); err != nil {
		return err
	}
	squashfs := path + ".squashfs"
	defer os.Remove(squashfs)
	pack := n.packer.cmd(packing{compression: b.Compression, out: squashfs, root: t.root.header, newest: t.newest})
	err = pipe(ctx,
		func(ctx context.Context, to io.Writer) error {
			return archive(ctx, t, layers, n.packer.root, &watchedWriter{w: to, of: t.content, watch: b.Watch})
		},
		func(ctx context.Context, from io.Reader) error {
			pack.Stdin = from
			return b.Run(ctx, pack)
		},
	)
	if err != nil {
		return explainDisk(filepath.Dir(path), t.content, err)
	}
	return writeSIF(path, squashfs, f, s.record.Digest, config.Architecture)
}

// A watchedWriter tells how much was written.
type watchedWriter struct {
	w        io.Writer
	done, of int64
	watch    func(done, of int64)
}

func (w *watchedWriter) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	if w.done += int64(n); w.watch != nil {
		w.watch(w.done, max(w.of, w.done))
	}
	return n, err
}

func newApptainerFiles(s source, config *v1.ConfigFile) apptainerFiles {
	header := map[string]string{"bootstrap": "oci", "from": s.record.Name + "@" + s.record.Digest.String()}
	labels := maps.Clone(config.Config.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels["org.label-schema.schema-version"] = "1.0"
	labels["org.label-schema.build-arch"] = config.Architecture
	for key, value := range header {
		labels["org.label-schema.usage.singularity.deffile."+key] = value
	}
	return apptainerFiles{definition: definitionHeader(header), labels: labels, config: config.Config}
}
