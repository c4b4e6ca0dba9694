package assemble

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A ground is a base image whose layers lie in the blob store.
type ground struct {
	Layers  []v1.Descriptor   `json:"layers"`
	Folders map[string]bool   `json:"folders"` // without slashes around
	Links   map[string]string `json:"links"`   // symbolic links, with their targets
	Shell   bool              `json:"shell"`   // it can run a #!/bin/sh script
	config  *v1.ConfigFile
}

// lay copies the layers of a base image into the blob store. What lies in them
// is noted for the next build.
func (b Builder) lay(ctx context.Context, base Base) (ground, error) {
	g, err := b.layBlobs(ctx, base)
	if err != nil {
		return ground{}, fmt.Errorf("base image %s: %w", base.Ref, err)
	}
	return g, nil
}

func (b Builder) layBlobs(ctx context.Context, base Base) (ground, error) {
	config, err := base.image.ConfigFile()
	if err != nil {
		return ground{}, err
	}
	digest, err := base.image.Digest()
	if err != nil {
		return ground{}, err
	}
	layers, err := base.image.Layers()
	if err != nil {
		return ground{}, err
	}
	notes := b.notes("bases-1", digest.Hex)
	var g ground
	if notes.load(&g) && b.holdsAll(g.Layers) {
		g.config = config
		return g, nil
	}
	g = ground{config: config, Folders: map[string]bool{}, Links: map[string]string{}}
	for i, l := range layers {
		if err := b.layOne(ctx, l, config.RootFS.DiffIDs[i], &g); err != nil {
			return ground{}, err
		}
	}
	g.Shell = g.has("bin/sh") || g.has("usr/bin/sh")
	return g, notes.save(g)
}

func (b Builder) holdsAll(layers []v1.Descriptor) bool {
	for _, d := range layers {
		if !b.blobs().holds(d.Digest) {
			return false
		}
	}
	return true
}

func (b Builder) layOne(ctx context.Context, l v1.Layer, diffID v1.Hash, g *ground) error {
	digest, err := l.Digest()
	if err != nil {
		return err
	}
	mediaType, err := l.MediaType()
	if err != nil {
		return err
	}
	stored, err := b.blobs().write(func(w io.Writer) error {
		body, err := l.Compressed()
		if err != nil {
			return err
		}
		defer body.Close()
		_, err = io.Copy(w, cancelled{ctx, body})
		return err
	})
	if err != nil {
		return fmt.Errorf("layer %s: %w", digest, err)
	}
	if stored.Digest != digest {
		return fmt.Errorf("layer %s: its bytes have digest %s: the image is damaged", digest, stored.Digest)
	}
	g.Layers = append(g.Layers, v1.Descriptor{MediaType: ociType(mediaType), Digest: digest, Size: stored.Size})
	open, err := l.Uncompressed()
	if err != nil {
		return fmt.Errorf("layer %s: %w", digest, err)
	}
	defer open.Close()
	sum := sha256.New()
	body := io.TeeReader(cancelled{ctx, open}, sum)
	if err := g.look(tar.NewReader(body)); err != nil {
		return fmt.Errorf("layer %s: %w", digest, err)
	}
	if _, err := io.Copy(io.Discard, body); err != nil {
		return fmt.Errorf("layer %s: %w", digest, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != diffID.Hex {
		return fmt.Errorf("layer %s: it unpacks to %s, and the configuration says %s: the image is damaged", digest, got, diffID.Hex)
	}
	return nil
}

// ociType is the OCI name of a layer's media type: the bytes are the same.
func ociType(t types.MediaType) types.MediaType {
	switch t {
	case types.DockerLayer:
		return types.OCILayer
	case types.DockerUncompressedLayer:
		return types.OCIUncompressedLayer
	}
	return t
}

// shellMark is how Folders and Links remember a file that matters.
const shellMark = "\x00file"

// look notes the folders and links of a layer, and whether it brings a shell or
// takes it away.
func (g *ground) look(r *tar.Reader) error {
	for {
		header, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		name := strings.Trim(path.Clean("/"+header.Name), "/")
		dir, base := path.Split(name)
		switch gone, isWhiteout := strings.CutPrefix(base, ".wh."); {
		case base == ".wh..wh..opq":
			g.forget(strings.TrimSuffix(dir, "/"), false)
			continue
		case isWhiteout:
			g.forget(dir+gone, true)
			continue
		}
		if header.Typeflag != tar.TypeDir {
			g.forget(name, true)
		}
		switch {
		case header.Typeflag == tar.TypeDir:
			delete(g.Links, name)
			g.Folders[name] = true
		case header.Typeflag == tar.TypeSymlink:
			g.Links[name] = header.Linkname
		case name == "bin/sh" || name == "usr/bin/sh":
			g.Links[name] = shellMark
		}
	}
}

// forget drops what a layer removes or replaces: a path with all below it, or
// only what is below.
func (g *ground) forget(name string, itself bool) {
	gone := func(at string) bool {
		return itself && at == name || name == "" || strings.HasPrefix(at, name+"/")
	}
	maps.DeleteFunc(g.Folders, func(at string, _ bool) bool { return gone(at) })
	maps.DeleteFunc(g.Links, func(at string, _ string) bool { return gone(at) })
}

func (g *ground) has(name string) bool {
	_, ok := g.Links[name]
	return ok
}

// resolve returns where a path of the image really lies, without slashes
// around: a layer that names /bin/x where /bin is a link would put a folder in
// the link's place. The last element is not resolved, as it is to be replaced.
func (g *ground) resolve(name string) (string, error) {
	rest := strings.Split(strings.Trim(path.Clean("/"+name), "/"), "/")
	at := ""
	for hops := 0; len(rest) > 1; {
		next := path.Join(at, rest[0])
		target, ok := g.Links[next]
		switch {
		case !ok:
			at, rest = next, rest[1:]
			continue
		case target == shellMark:
			return "", fmt.Errorf("/%s is a file of the base image", next)
		}
		if hops++; hops > 40 {
			return "", errors.New("/" + strings.Trim(name, "/") + " lies behind links of the base image that go round in circles")
		}
		if !path.IsAbs(target) {
			target = path.Join("/", at, target)
		}
		at, rest = "", append(strings.Split(strings.Trim(path.Clean(target), "/"), "/"), rest[1:]...)
	}
	return path.Join(at, rest[0]), nil
}
