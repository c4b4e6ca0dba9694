package assemble

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/views"
)

// A payload is a package whose tarball is in the blob store. Spack's tarballs
// hold absolute paths, root as owner and the epoch as time: they are image
// layers as they stand, and are neither unpacked nor compressed again, unless
// the package has to be relocated.
type payload struct {
	Spec *buildcache.Spec
	contents
	layer               // what the image gets
	tarball     v1.Hash // the package as Spack has pushed it
	fetched     bool    // from the mirror, by this build
	Prefix      string  // where it is in the image
	*relocation         // nil: it stays as it is
}

// A layer is a blob with the digest of what it unpacks to.
type layer struct {
	blob
	DiffID v1.Hash
}

// fetch brings a package into the store. One that an earlier build has left
// there is not fetched again; it is read, and its digest taken, all the same.
func (b Builder) fetch(ctx context.Context, spec *buildcache.Spec, lock *buildcache.Lockfile) (payload, error) {
	p, err := b.find(ctx, spec, lock)
	if err != nil {
		return payload{}, fmt.Errorf("%s: %w", spec, err)
	}
	p.Spec, p.tarball = spec, p.Digest
	return p, nil
}

func (b Builder) find(ctx context.Context, spec *buildcache.Spec, lock *buildcache.Lockfile) (payload, error) {
	found, err := b.locate(ctx, spec, lock)
	if err != nil {
		return payload{}, err
	}
	if found.Algorithm != "sha256" || found.Compression != "gzip" {
		return payload{}, fmt.Errorf("%s: a layer needs gzip and sha256, this is %s and %s", found.Key, found.Compression, found.Algorithm)
	}
	digest := v1.Hash{Algorithm: "sha256", Hex: found.Checksum}
	if p, ok := b.stored(ctx, digest, found); ok {
		return p, nil
	}
	p := payload{fetched: true}
	p.blob, err = b.blobs().write(func(w io.Writer) error {
		body, err := b.Cache.Open(ctx, found)
		if err != nil {
			return err
		}
		defer body.Close()
		p.contents, p.DiffID, err = readLayer(cancelled{ctx, io.TeeReader(body, w)}, found)
		var named *buildcache.ObjectError
		if err != nil && !errors.As(err, &named) {
			err = fmt.Errorf("%s: %w", found.Key, err)
		}
		return err
	})
	return p, err
}

// locate looks a package up. Where a key is asked for, all that it has signed
// of the package's DAG must be what the lockfile says.
func (b Builder) locate(ctx context.Context, spec *buildcache.Spec, lock *buildcache.Lockfile) (*buildcache.Package, error) {
	if b.Cache.Keys == nil {
		return b.Cache.Find(ctx, spec)
	}
	return b.Cache.FindSigned(ctx, spec, lock)
}

// stored reads a package that is in the store already. Whatever is wrong with
// it is a reason to fetch it.
func (b Builder) stored(ctx context.Context, digest v1.Hash, found *buildcache.Package) (p payload, ok bool) {
	file, err := os.Open(b.blobs().path(digest))
	if err != nil {
		return payload{}, false
	}
	defer file.Close()
	sum := sha256.New()
	counted := &counter{r: io.TeeReader(cancelled{ctx, file}, sum)}
	p.contents, p.DiffID, err = readLayer(counted, found)
	p.blob = blob{digest, counted.n}
	return p, err == nil && hex.EncodeToString(sum.Sum(nil)) == digest.Hex
}

// A counter counts what is read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// What a tarball may unpack to: gzip makes a thousandth of zeros, real packages
// are a third to a tenth.
const (
	maxRatio     = 200
	alwaysUnpack = 64 << 20
)

// readLayer reads a gzipped tarball to its last byte.
func readLayer(r io.Reader, found *buildcache.Package) (contents, v1.Hash, error) {
	unzipped, err := gzip.NewReader(r)
	if err != nil {
		return contents{}, v1.Hash{}, err
	}
	sum := sha256.New()
	limited := &limiter{r: io.TeeReader(unzipped, sum), left: alwaysUnpack + maxRatio*found.Size}
	c, err := readContents(limited, found.Spec)
	// Even after a failure: the reader checks size and digest at the end, and
	// a broken download explains whatever else went wrong.
	if _, broken := io.Copy(io.Discard, r); broken != nil {
		err = broken
	}
	return c, v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}, err
}

// A limiter fails where more is unpacked than a package can hold.
type limiter struct {
	r    io.Reader
	left int64
}

func (l *limiter) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return n, fmt.Errorf("it unpacks to more than %d times its size: no package does", maxRatio)
	}
	return n, err
}

// readBlob calls each for the entries of a gzipped tarball in the store.
func (b Builder) readBlob(ctx context.Context, digest v1.Hash, each func(*tar.Header, io.Reader) error) error {
	file, err := os.Open(b.blobs().path(digest))
	if err != nil {
		return err
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	r := tar.NewReader(unzipped)
	for {
		header, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := each(header, r); err != nil {
			return err
		}
	}
}

func (b Builder) blobs() blobStore { return blobStore(filepath.Join(b.Work, "blobs")) }

// checkLinks lets symbolic links leave the install tree for what the system
// provides, as Spack makes them for externals; nowhere else.
func checkLinks(packages []payload, system []string) error {
	var errs []error
	for _, p := range packages {
		for _, f := range p.Files {
			target := linkTarget(f, p.Prefix)
			if target == "" || within(target, InstallTree) || slices.ContainsFunc(system, func(dir string) bool { return within(target, dir) }) {
				continue
			}
			errs = append(errs, fmt.Errorf("%s: its link %q leads to %q, outside %s and what the system provides (%s)", p.Spec, f.Path, target, InstallTree, strings.Join(system, ", ")))
		}
	}
	return errors.Join(errs...)
}

// linkTarget returns where a symbolic link of a package leads; empty: it is
// none.
func linkTarget(f views.File, prefix string) string {
	switch {
	case f.Kind != views.Symlink:
		return ""
	case path.IsAbs(f.Link):
		return path.Clean(f.Link)
	}
	return path.Join(prefix, path.Dir(f.Path), f.Link)
}
