package podman

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// take loads a published base image into podman's storage, under the names that one has which was
// built here. It comes through us, with our credentials and every digest checked.
func (b Base) take(ctx context.Context, p Podman, img v1.Image, native bool) error {
	tag, err := name.NewTag(b.Tag())
	if err != nil {
		return err
	}
	from, to := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := tarball.Write(tag, img, to)
		to.CloseWithError(err)
		written <- err
	}()
	c := p.command("load", "--quiet")
	c.Stdin = from
	err = p.Run(ctx, c)
	from.CloseWithError(errors.New("podman has ended")) // the writer must not wait for a reader that is gone
	if writeErr := <-written; err == nil {
		err = writeErr
	}
	if err == nil && native {
		err = p.Run(ctx, p.command("tag", b.Tag(), "localhost/"+b.Name))
	}
	return err
}

// Save writes an image of podman's storage to a file in docker's format, in which alone ONBUILD lines
// are kept, and opens it. The file must stay for as long as the image is used.
func (p Podman) Save(ctx context.Context, id ID, path string) (img v1.Image, err error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	c := p.command("save", "--quiet", "--format=docker-archive", string(id))
	c.Stdout = file
	if err := errors.Join(p.Run(ctx, c), file.Close()); err != nil {
		return nil, err
	}
	return tarball.ImageFromPath(path, nil)
}
