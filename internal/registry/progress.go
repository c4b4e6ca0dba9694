package registry

import (
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A Progress watches a blob, whose first byte is about to be sent to a
// repository, or sent again. It is called in parallel.
type Progress func(repository string, blob v1.Hash, size int64) Transfer

// A Transfer is one blob on its way.
type Transfer interface {
	Sent(bytes int)
	End(complete bool)
}

type silent struct{}

func (silent) Sent(int) {}
func (silent) End(bool) {}

// watched is a layer whose bytes are counted as they are sent.
type watched struct {
	v1.Layer
	begin func() Transfer
}

func (w watched) Compressed() (io.ReadCloser, error) {
	blob, err := w.Layer.Compressed()
	if err != nil {
		return nil, err
	}
	size, err := w.Size()
	return &counted{ReadCloser: blob, transfer: w.begin(), left: size}, err
}

type counted struct {
	io.ReadCloser
	transfer Transfer
	left     int64
	ended    bool
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.left -= int64(n)
	c.transfer.Sent(n)
	return n, err
}

// Close ends the transfer: http closes a body whatever became of it.
func (c *counted) Close() error {
	if !c.ended {
		c.ended = true
		c.transfer.End(c.left <= 0)
	}
	return c.ReadCloser.Close()
}
