package release

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/openbraininstitute/spacktainers/internal/image"
)

// An Image has the program on PATH, on a Debian system with the programs that it calls.
type Image struct {
	// Root writes the system's root file system as a tarball. The same packages give the same bytes.
	Root    func(ctx context.Context, platform, path string) error
	Time    time.Time         // at which it says that it was made: not the clock's
	Labels  map[string]string // beside our own
	Volumes []string          // that engines give it by themselves
	Files   map[string]string // further ones: content by path
}

// ImageFile is the name of the file with the program's image for a platform. It is an archive in
// docker's format, which podman load, docker load and skopeo read.
func ImageFile(program, platform string) string {
	return Options{Name: program + "-image"}.fileName(platform) + ".tar"
}

// OpenImage opens such a file, and returns the image's build key. The file must stay for as long as
// the image is used.
func OpenImage(path string) (v1.Image, string, error) {
	img, err := tarball.ImageFromPath(path, nil)
	if err != nil {
		return nil, "", err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, "", err
	}
	key := config.Config.Labels[image.LabelBuildKey]
	if key == "" {
		return nil, "", fmt.Errorf("%s is no image that release has made", path)
	}
	return img, key, nil
}

// image makes the image of the program for a platform, which is in out by then, and its bill.
func (o Options) image(ctx context.Context, out, platform string) ([]File, error) {
	work, err := os.MkdirTemp(out, ".image-*.part")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	root := filepath.Join(work, "root.tar")
	if err := o.Image.Root(ctx, platform, root); err != nil {
		return nil, fmt.Errorf("the system of the image for %s: %w", platform, err)
	}
	program, err := os.ReadFile(filepath.Join(out, o.fileName(platform)))
	if err != nil {
		return nil, err
	}
	files := map[string]file{"usr/local/bin/" + o.Name: {program, 0o755}}
	for path, text := range o.Image.Files {
		files[strings.TrimPrefix(path, "/")] = file{[]byte(text), 0o644}
	}
	top, err := archive(files, o.Image.Time)
	if err != nil {
		return nil, err
	}
	img, err := o.Image.assemble(platform, root, top)
	if err != nil {
		return nil, err
	}
	name := ImageFile(o.Name, platform)
	if err := o.write(img, platform, filepath.Join(out, name)); err != nil {
		return nil, err
	}
	main, contents, err := modulesOf(filepath.Join(out, o.fileName(platform)))
	if err != nil {
		return nil, err
	}
	system, err := debianPackages(root)
	if err != nil {
		return nil, err
	}
	main.Type = cyclonedx.ComponentTypeContainer
	return []File{{Name: name, Platform: platform}, {Name: name + bill}}, writeBill(filepath.Join(out, name), main, append(system, contents...))
}

// assemble makes an image of a root file system and what is above it.
func (i Image) assemble(platform, root string, top []byte) (v1.Image, error) {
	want, err := v1.ParsePlatform(platform)
	if err != nil {
		return nil, err
	}
	layers, inputs := []v1.Layer{}, []image.Input{{Kind: "platform", Digest: platform}}
	for _, open := range []tarball.Opener{
		func() (io.ReadCloser, error) { return os.Open(root) },
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(top)), nil },
	} {
		layer, err := tarball.LayerFromOpener(open, tarball.WithCompressionLevel(gzip.BestSpeed), tarball.WithCompressedCaching)
		if err != nil {
			return nil, err
		}
		id, err := layer.DiffID()
		if err != nil {
			return nil, err
		}
		layers, inputs = append(layers, layer), append(inputs, image.Input{Kind: "layer", Name: fmt.Sprint(len(layers)), Digest: id.String()})
	}
	img, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = want.OS, want.Architecture, v1.Time{Time: i.Time.UTC()}
	config.Config = v1.Config{
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, Cmd: []string{"bash"},
		Labels: map[string]string{image.LabelBuildKey: image.BuildKey(inputs)}, Volumes: map[string]struct{}{},
	}
	for name, value := range i.Labels {
		config.Config.Labels[name] = value
	}
	for _, path := range i.Volumes {
		config.Config.Volumes[path] = struct{}{}
	}
	return mutate.ConfigFile(img, config)
}

// write makes the archive, whole or not at all.
func (o Options) write(img v1.Image, platform, path string) error {
	tag, err := name.NewTag("localhost/" + o.Name + ":" + strings.ReplaceAll(platform, "/", "-"))
	if err != nil {
		return err
	}
	part := path + ".part"
	defer os.Remove(part)
	if err := tarball.WriteToFile(part, tag, img); err != nil {
		return err
	}
	return os.Rename(part, path)
}
