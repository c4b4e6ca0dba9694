package sif

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// eachEntry reads the tar entries of a layer in their order. The layer is
// checked against its digest while it is read; visit sees entries before that
// is known, so what it did with them counts only when eachEntry returns nil.
func eachEntry(ctx context.Context, layer v1.Layer, visit func(index int, h *tar.Header, body io.Reader) error) error {
	digest, err := layer.Digest()
	if err != nil {
		return err
	}
	if err := readLayer(ctx, layer, digest, visit); err != nil {
		return fmt.Errorf("layer %s: %w", digest, err)
	}
	return nil
}

func readLayer(ctx context.Context, layer v1.Layer, digest v1.Hash, visit func(int, *tar.Header, io.Reader) error) error {
	compressed, err := layer.Compressed()
	if err != nil {
		return err
	}
	defer compressed.Close()
	checked := &checkedReader{ctx: ctx, from: compressed, sum: sha256.New()}
	plain, err := decompress(bufio.NewReaderSize(checked, 1<<18))
	if err != nil {
		return err
	}
	defer plain.Close()
	entries := tar.NewReader(plain)
	for i := 0; ; i++ {
		h, err := entries.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := visit(i, h, entries); err != nil {
			return err
		}
	}
	// What is behind the end is padding, or another archive that container engines do not read
	// either. It counts for the digest, and is not decompressed.
	if _, err := io.Copy(io.Discard, checked); err != nil {
		return err
	}
	if got := hex.EncodeToString(checked.sum.Sum(nil)); got != digest.Hex {
		return fmt.Errorf("damaged: its sha256 is %s: build the container again", got)
	}
	return nil
}

type checkedReader struct {
	ctx  context.Context
	from io.Reader
	sum  hash.Hash
}

func (r *checkedReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.from.Read(p)
	r.sum.Write(p[:n])
	return n, err
}

// decompress goes by the content: media types of layers are not always true.
func decompress(r *bufio.Reader) (io.ReadCloser, error) {
	magic, err := r.Peek(4)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return nil, err
	case len(magic) >= 2 && magic[0] == 0x1f && magic[1] == 0x8b:
		return gzip.NewReader(r)
	case string(magic) == "\x28\xb5\x2f\xfd":
		plain, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, err
		}
		return plain.IOReadCloser(), nil
	}
	return io.NopCloser(r), nil
}
