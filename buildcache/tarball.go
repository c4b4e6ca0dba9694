package buildcache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
)

// Open streams a package's tarball as it is stored, that is compressed. Its
// size and checksum are verified on the way: where they differ, the last Read
// returns ErrChecksum instead of io.EOF. So nothing that was read is known to
// be right before the end was reached.
func (c *Cache) Open(ctx context.Context, p *Package) (io.ReadCloser, error) {
	if err := checkDigest(p.Algorithm, p.Checksum); err != nil {
		return nil, &ObjectError{p.Key, err}
	}
	r, _, err := c.Store.Get(ctx, p.Key)
	if isMissing(err) {
		return nil, gone(p.Key, p.SpecKey)
	}
	if err != nil {
		return nil, &ObjectError{p.Key, err}
	}
	return &verifier{ReadCloser: r, p: *p, hash: sha256.New()}, nil
}

// A verifier passes a tarball on and objects at its end.
type verifier struct {
	io.ReadCloser
	p    Package
	hash hash.Hash
	n    int64
	err  error // what every later Read returns
}

func (v *verifier) Read(b []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	n, err := v.ReadCloser.Read(b)
	v.n += int64(n)
	v.hash.Write(b[:n])
	switch {
	case v.n > v.p.Size:
		err = &ObjectError{v.p.Key, fmt.Errorf("%w: longer than the %d bytes that %s says: push the package again", ErrChecksum, v.p.Size, v.p.SpecKey)}
	case err == io.EOF:
		err = v.verdict()
	case err != nil:
		err = &ObjectError{v.p.Key, err}
	}
	v.err = err
	return n, err
}

func (v *verifier) verdict() error {
	if v.n < v.p.Size {
		return &ObjectError{v.p.Key, fmt.Errorf("%w: ends after %d of the %d bytes that %s says: push the package again", ErrChecksum, v.n, v.p.Size, v.p.SpecKey)}
	}
	if got := hex.EncodeToString(v.hash.Sum(nil)); got != v.p.Checksum {
		return &ObjectError{v.p.Key, fmt.Errorf("%w: the bytes have %s %s, %s says %s: push the package again", ErrChecksum, v.p.Algorithm, got, v.p.SpecKey, v.p.Checksum)}
	}
	return io.EOF
}
