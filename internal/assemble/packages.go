package assemble

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A payload is a package whose tarball lies in the blob store. Spack's
// tarballs hold absolute paths, root as owner and the epoch as time: they are
// image layers as they stand, and are neither unpacked nor compressed again.
type payload struct {
	Spec *buildcache.Spec `json:"-"`
	layer
	contents
	fetched bool // from the mirror, by this build
}

// A layer is a blob with the digest of what it unpacks to.
type layer struct {
	blob
	DiffID v1.Hash `json:"diff_id"`
}

// fetch brings a package into the store. What an earlier build has read of the
// same tarball is taken from its notes, if the blob still has its digest.
func (b Builder) fetch(ctx context.Context, spec *buildcache.Spec) (payload, error) {
	p, err := b.find(ctx, spec)
	if err != nil {
		return payload{}, fmt.Errorf("%s: %w", spec, err)
	}
	p.Spec = spec
	return p, nil
}

func (b Builder) find(ctx context.Context, spec *buildcache.Spec) (payload, error) {
	found, err := b.Cache.Find(ctx, spec)
	if err != nil {
		return payload{}, err
	}
	if found.Algorithm != "sha256" || found.Compression != "gzip" {
		return payload{}, fmt.Errorf("%s: a layer needs gzip and sha256, this is %s and %s", found.Key, found.Compression, found.Algorithm)
	}
	digest := v1.Hash{Algorithm: "sha256", Hex: found.Checksum}
	var p payload
	if b.packageNotes(digest).load(&p) && p.Digest == digest && b.blobs().holds(digest) {
		return p, nil
	}
	p = payload{fetched: true}
	p.blob, err = b.blobs().write(func(w io.Writer) error {
		body, err := b.Cache.Open(ctx, found)
		if err != nil {
			return err
		}
		defer body.Close()
		p.contents, p.DiffID, err = readLayer(cancelled{ctx, io.TeeReader(body, w)})
		var named *buildcache.ObjectError
		if err != nil && !errors.As(err, &named) {
			err = fmt.Errorf("%s: %w", found.Key, err)
		}
		return err
	})
	if err != nil {
		return payload{}, err
	}
	return p, b.packageNotes(digest).save(p)
}

// readLayer reads a gzipped tarball to its last byte.
func readLayer(r io.Reader) (contents, v1.Hash, error) {
	unzipped, err := gzip.NewReader(r)
	if err != nil {
		return contents{}, v1.Hash{}, err
	}
	sum := sha256.New()
	tee := io.TeeReader(unzipped, sum)
	c, err := readContents(tee)
	if err == nil {
		_, err = io.Copy(io.Discard, tee) // the padding behind the archive
	}
	// Even after a failure: the reader checks size and digest at the end, and
	// a broken download explains whatever else went wrong.
	if _, broken := io.Copy(io.Discard, r); broken != nil {
		err = broken
	}
	return c, v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}, err
}

// packageNotes is what was read of a tarball.
func (b Builder) packageNotes(digest v1.Hash) note { return b.notes("packages-1", digest.Hex) }

func (b Builder) blobs() blobStore { return blobStore(filepath.Join(b.Work, "blobs")) }

// checkLinks lets symbolic links leave the install tree for what the system
// provides, as Spack makes them for externals; nowhere else.
func checkLinks(packages []payload, system []string) error {
	var errs []error
	for _, p := range packages {
		for _, l := range p.Outside {
			if !slices.ContainsFunc(system, func(dir string) bool { return within(l.Target, dir) }) {
				errs = append(errs, fmt.Errorf("%s: its link %s leads to %s, outside %s and what the system provides (%s)", p.Spec, l.Name, l.Target, InstallTree, strings.Join(system, ", ")))
			}
		}
	}
	return errors.Join(errs...)
}
