package podman

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/openbraininstitute/spacktainers/internal/image"
)

// save has podman write an image as a layout into an empty folder, wherever podman is: the archive
// comes as a stream.
func (p Podman) save(run func(io.Writer) error, dir string) error {
	from, to := io.Pipe()
	unpacked := make(chan error, 1)
	go func() {
		err := unpack(from, dir)
		from.CloseWithError(err) // podman must not wait for a reader that is gone
		unpacked <- err
	}()
	err := run(to)
	to.CloseWithError(err)
	return errors.Join(err, <-unpacked)
}

// unpack writes the files of a tar archive into a folder, and nowhere else.
func unpack(r io.Reader, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			_, err = io.Copy(io.Discard, r) // the padding behind the end
			return err
		}
		if err != nil {
			return err
		}
		name := filepath.Clean(header.Name)
		switch header.Typeflag {
		case tar.TypeDir:
			err = root.MkdirAll(name, 0o755)
		case tar.TypeReg:
			err = unpackFile(root, name, archive)
		default:
			err = fmt.Errorf("%s is neither a file nor a folder", header.Name)
		}
		if err != nil {
			return err
		}
	}
}

func unpackFile(root *os.Root, name string, r io.Reader) error {
	file, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, r)
	return errors.Join(err, file.Close())
}

// openLayout returns the one image of a layout that podman wrote.
func openLayout(dir string) (v1.Image, v1.Hash, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, v1.Hash{}, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, v1.Hash{}, err
	}
	if n := len(manifest.Manifests); n != 1 {
		return nil, v1.Hash{}, fmt.Errorf("podman saved %d images, want 1", n)
	}
	digest := manifest.Manifests[0].Digest
	img, err := index.Image(digest)
	return img, digest, err
}

// describeLayout writes an index as our other engine does, with platform and version: podman's
// names a local tag.
func describeLayout(dir string, record image.Record) (v1.Hash, error) {
	img, digest, err := openLayout(dir)
	if err != nil {
		return digest, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return digest, err
	}
	want, err := v1.ParsePlatform(record.Platform)
	if err != nil {
		return digest, err
	}
	if config.OS != want.OS || config.Architecture != want.Architecture {
		return digest, fmt.Errorf("podman built for %s/%s, and %s was wanted", config.OS, config.Architecture, record.Platform)
	}
	if key := config.Config.Labels[image.LabelBuildKey]; key != record.BuildKey {
		return digest, fmt.Errorf("podman's image is that of the build key %.16q, want %.16q: another process has built one of its name meanwhile, so run it again", key, record.BuildKey)
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return digest, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return digest, err
	}
	manifest.Manifests[0].Platform = want
	manifest.Manifests[0].Annotations = map[string]string{"org.opencontainers.image.ref.name": record.Version}
	text, err := json.Marshal(manifest)
	if err != nil {
		return digest, err
	}
	return digest, os.WriteFile(filepath.Join(dir, "index.json"), text, 0o644)
}

// fileOf reads a file out of a layout's image.
func fileOf(dir, name string) ([]byte, error) {
	img, _, err := openLayout(dir)
	if err != nil {
		return nil, err
	}
	flat := mutate.Extract(img)
	defer flat.Close()
	archive := tar.NewReader(flat)
	for {
		header, err := archive.Next()
		switch {
		case err == io.EOF:
			return nil, fmt.Errorf("the image has no file %s: %w", name, fs.ErrNotExist)
		case err != nil:
			return nil, err
		case filepath.Clean("/"+header.Name) == filepath.Clean("/"+name):
			return io.ReadAll(archive)
		}
	}
}
