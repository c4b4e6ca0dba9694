package assemble

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// write writes the image as a layout with one manifest and returns its digest.
func (d *draft) write(blobs blobStore, c Container, dir string) (v1.Hash, error) {
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755); err != nil {
		return v1.Hash{}, err
	}
	platform, err := c.platform()
	if err != nil {
		return v1.Hash{}, err
	}
	w := layoutWriter{blobs: blobs, dir: dir}
	for _, l := range d.layers() {
		if err := blobs.link(l.Digest, dir); err != nil {
			return v1.Hash{}, err
		}
	}
	config, err := w.document(types.OCIConfigJSON, d.config(c, platform))
	if err != nil {
		return v1.Hash{}, err
	}
	manifest, err := w.document(types.OCIManifestSchema1, v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		Config:        config,
		Layers:        d.layers(),
		Annotations:   d.annotations(),
	})
	if err != nil {
		return v1.Hash{}, err
	}
	manifest.Platform = &platform
	manifest.Annotations = map[string]string{"org.opencontainers.image.ref.name": c.Version}
	index, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{manifest}})
	if err != nil {
		return v1.Hash{}, err
	}
	if err := os.WriteFile(filepath.Join(dir, "index.json"), index, 0o644); err != nil {
		return v1.Hash{}, err
	}
	return manifest.Digest, os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644)
}

// annotations are the labels of which something is known.
func (d *draft) annotations() map[string]string {
	known := maps.Clone(d.labels)
	maps.DeleteFunc(known, func(_, value string) bool { return value == "" })
	return known
}

// config is the image's configuration: what the base says, and on top of it
// the environment, the labels and, where there is a shell to run it, the
// entrypoint. The base's command goes with the base's entrypoint: it was
// written for that one.
func (d *draft) config(c Container, platform v1.Platform) v1.ConfigFile {
	config := d.base.config.DeepCopy()
	config.OS, config.Architecture, config.Variant = platform.OS, platform.Architecture, platform.Variant
	config.Created = v1.Time{Time: epoch.UTC()}
	config.Config.Env = imageEnv(config.Config.Env, d.env, c.Env)
	if d.base.shell {
		config.Config.Entrypoint, config.Config.Cmd = []string{entrypoint}, nil
	}
	if config.Config.Labels == nil {
		config.Config.Labels = map[string]string{}
	}
	for name := range d.labels { // one that is not known must not be the base's
		delete(config.Config.Labels, name)
	}
	maps.Copy(config.Config.Labels, d.annotations())
	config.RootFS.Type = "layers"
	config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, d.diffs...)
	config.History = append(config.History, d.lines...)
	return *config
}

type layoutWriter struct {
	blobs blobStore
	dir   string
}

// document stores a JSON document as a blob of the layout.
func (w layoutWriter) document(mediaType types.MediaType, v any) (v1.Descriptor, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return v1.Descriptor{}, err
	}
	stored, err := w.blobs.write(func(to io.Writer) error {
		_, err := io.Copy(to, bytes.NewReader(text))
		return err
	})
	if err != nil {
		return v1.Descriptor{}, err
	}
	return v1.Descriptor{MediaType: mediaType, Digest: stored.Digest, Size: stored.Size}, w.blobs.link(stored.Digest, w.dir)
}
