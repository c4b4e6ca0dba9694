package sif

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
)

// flatten reads all layers of an image once, for their names alone, and
// returns the tree that they make.
func flatten(ctx context.Context, layers []v1.Layer) (*tree, error) {
	t := newTree()
	for i, layer := range layers {
		t.layer = i
		err := eachEntry(ctx, layer, func(index int, h *tar.Header, _ io.Reader) error { return t.apply(index, h) })
		if err != nil {
			return nil, err
		}
	}
	t.layer = len(layers)
	return t, nil
}

// archive writes a tree as one tar stream, reading the layers a second time
// for the content of files. First come folders, links and devices, then files
// as they are in the layers: so nothing but headers is ever kept.
func archive(ctx context.Context, t *tree, layers []v1.Layer, withRoot bool, to io.Writer) error {
	buffered := bufio.NewWriterSize(to, 1<<18)
	w := &archiver{Writer: tar.NewWriter(buffered), alive: make([]map[int]*inode, len(layers))}
	for _, in := range t.finish() {
		switch {
		case in == t.root.inode && !withRoot:
		case in.kind != tar.TypeReg:
			w.add(in)
		case in.header != nil:
			w.addFile(in, in.header, bytes.NewReader(in.body))
		default:
			if w.alive[in.layer] == nil {
				w.alive[in.layer] = map[int]*inode{}
			}
			w.alive[in.layer][in.index] = in
		}
	}
	for i, layer := range layers {
		if w.alive[i] == nil {
			continue
		}
		err := eachEntry(ctx, layer, func(index int, h *tar.Header, body io.Reader) error {
			if in := w.alive[i][index]; in != nil {
				w.addFile(in, tidy(h), body)
			}
			return w.err
		})
		if err != nil {
			return err
		}
	}
	return errors.Join(w.err, w.Close(), buffered.Flush())
}

type archiver struct {
	*tar.Writer
	alive []map[int]*inode // files by layer and index
	err   error
}

func (w *archiver) write(h tar.Header, body io.Reader) {
	if w.err == nil {
		w.err = w.WriteHeader(&h)
	}
	if w.err == nil && body != nil {
		_, w.err = io.Copy(w, body)
	}
	if w.err != nil && !errors.Is(w.err, errStopped) {
		w.err = fmt.Errorf("%s: %w", h.Name, w.err)
	}
}

// add writes what has no content, once for each of its names.
func (w *archiver) add(in *inode) {
	for _, name := range in.names {
		h := *in.header
		h.Name = name
		if in.kind == tar.TypeDir {
			h.Name = name + "/"
		}
		w.write(h, nil)
	}
}

// addFile writes a file under its first name and hard links under the others.
func (w *archiver) addFile(in *inode, header *tar.Header, body io.Reader) {
	h := *header
	h.Typeflag, h.Linkname, h.Name = tar.TypeReg, "", in.names[0]
	w.write(h, body)
	for _, name := range in.names[1:] {
		link := h
		link.Typeflag, link.Name, link.Linkname, link.Size, link.PAXRecords = tar.TypeLink, name, in.names[0], 0, nil
		w.write(link, nil)
	}
}

// errStopped ends the stream of a program that has stopped reading; what the
// program says is the error to show.
var errStopped = errors.New("the program has stopped reading")

// pipe runs write and read at the same time, one feeding the other. Where both
// fail, what write says is why.
func pipe(ctx context.Context, write func(context.Context, io.Writer) error, read func(context.Context, io.Reader) error) error {
	group, groupCtx := errgroup.WithContext(ctx)
	from, to := io.Pipe()
	var cause error
	group.Go(func() error {
		err := write(groupCtx, to)
		if !errors.Is(err, errStopped) {
			cause = err
		}
		to.CloseWithError(err)
		return cause
	})
	group.Go(func() error {
		err := read(groupCtx, from)
		from.CloseWithError(errStopped)
		return err
	})
	err := group.Wait()
	if cause != nil && ctx.Err() == nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}
