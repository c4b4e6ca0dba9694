package assemble

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// baseLayers are the layers of a base image, all of them in the blob store.
type baseLayers struct {
	Layers  []v1.Descriptor
	folders map[string]bool   // without slashes around
	links   map[string]string // symbolic links, with their targets
	shell   bool              // it can run a #!/bin/sh script
	config  *v1.ConfigFile
}

// layBase copies the layers of a base image into the blob store and looks at
// what they hold. A layer that is there already is not fetched again.
func (b Builder) layBase(ctx context.Context, base Base) (baseLayers, error) {
	layers, err := b.readBase(ctx, base)
	if err != nil {
		return baseLayers{}, fmt.Errorf("base image %s: %w", base.Ref, err)
	}
	return layers, nil
}

func (b Builder) readBase(ctx context.Context, base Base) (baseLayers, error) {
	config, err := base.image.ConfigFile()
	if err != nil {
		return baseLayers{}, err
	}
	layers, err := base.image.Layers()
	if err != nil {
		return baseLayers{}, err
	}
	found := baseLayers{config: config, folders: map[string]bool{}, links: map[string]string{}}
	for i, l := range layers {
		digest, err := l.Digest()
		if err != nil {
			return baseLayers{}, err
		}
		if err := b.readBaseLayer(ctx, l, digest, config.RootFS.DiffIDs[i], &found); err != nil {
			return baseLayers{}, fmt.Errorf("layer %s: %w", digest, err)
		}
	}
	found.shell = found.has("bin/sh") || found.has("usr/bin/sh")
	return found, nil
}

// readBaseLayer brings one layer into the store, checks both of its digests,
// and records what is in it.
func (b Builder) readBaseLayer(ctx context.Context, l v1.Layer, digest, diffID v1.Hash, found *baseLayers) error {
	mediaType, err := l.MediaType()
	if err != nil {
		return err
	}
	size, err := l.Size()
	if err != nil {
		return err
	}
	if !b.blobs().holds(digest) {
		if err := b.fetchBaseLayer(ctx, l, digest); err != nil {
			return err
		}
	}
	file, err := os.Open(b.blobs().path(digest))
	if err != nil {
		return err
	}
	defer file.Close()
	open, err := decompress(file)
	if err != nil {
		return err
	}
	defer open.Close()
	sum := sha256.New()
	body := io.TeeReader(cancelled{ctx, open}, sum)
	if err := found.look(tar.NewReader(body)); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, body); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != diffID.Hex {
		return fmt.Errorf("it unpacks to %s, and the configuration says %s: the image is damaged", got, diffID.Hex)
	}
	found.Layers = append(found.Layers, v1.Descriptor{MediaType: ociType(mediaType), Digest: digest, Size: size})
	return nil
}

// decompress unpacks a layer by its first bytes: gzip, zstd or neither.
func decompress(r io.Reader) (io.ReadCloser, error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	magic, _ := buffered.Peek(4) // what is shorter is neither
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		return gzip.NewReader(buffered)
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		d, err := zstd.NewReader(buffered, zstd.WithDecoderMaxMemory(1<<30))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}
	return io.NopCloser(buffered), nil
}

func (b Builder) fetchBaseLayer(ctx context.Context, l v1.Layer, digest v1.Hash) error {
	stored, err := b.blobs().write(func(w io.Writer) error {
		body, err := l.Compressed()
		if err != nil {
			return err
		}
		defer body.Close()
		_, err = io.Copy(w, cancelled{ctx, body})
		return err
	})
	if err == nil && stored.Digest != digest {
		err = fmt.Errorf("its bytes have digest %s: the image is damaged", stored.Digest)
	}
	return err
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

// shellMark is how links remembers a file that matters.
const shellMark = "\x00file"

// look records the folders and links of a layer, and whether it brings a shell or
// takes it away.
func (g *baseLayers) look(r *tar.Reader) error {
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
			delete(g.links, name)
			g.folders[name] = true
		case header.Typeflag == tar.TypeSymlink:
			g.links[name] = header.Linkname
		case name == "bin/sh" || name == "usr/bin/sh":
			g.links[name] = shellMark
		}
	}
}

// forget drops what a layer removes or replaces: a path with all below it, or
// only what is below.
func (g *baseLayers) forget(name string, itself bool) {
	gone := func(at string) bool {
		return itself && at == name || name == "" || strings.HasPrefix(at, name+"/")
	}
	maps.DeleteFunc(g.folders, func(at string, _ bool) bool { return gone(at) })
	maps.DeleteFunc(g.links, func(at string, _ string) bool { return gone(at) })
}

func (g *baseLayers) has(name string) bool {
	_, ok := g.links[name]
	return ok
}

// isFolder reports whether a path of the image is a folder, or a link to one.
func (g *baseLayers) isFolder(name string) bool {
	at, err := g.resolve(path.Join(name, "x"))
	return err == nil && g.folders[path.Dir(at)]
}

// resolve returns where a path of the image really lies, without slashes
// around: a layer that names /bin/x where /bin is a link would put a folder in
// the link's place. The last element is not resolved, as it is to be replaced.
func (g *baseLayers) resolve(name string) (string, error) {
	rest := strings.Split(strings.Trim(path.Clean("/"+name), "/"), "/")
	at := ""
	for hops := 0; len(rest) > 1; {
		next := path.Join(at, rest[0])
		target, ok := g.links[next]
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
