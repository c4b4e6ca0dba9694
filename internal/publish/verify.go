package publish

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/registry"
)

// A Verified says what was read and found good.
type Verified struct {
	Ref       string   `json:"ref"`
	Digest    v1.Hash  `json:"digest"`
	Platforms []string `json:"platforms"`
	Blobs     int      `json:"blobs"`
	Bytes     int64    `json:"bytes"`
	Attached  int      `json:"attached"` // documents
	Signed    bool     `json:"signed"`   // by the key that was given
}

// Verify reads everything behind a tag or digest back and checks every byte:
// each manifest and blob against its digest, each layer against what the
// configuration says it unpacks to, each lockfile against the image's label.
// With a verifier, index and images must be signed by its key.
func Verify(ctx context.Context, c *registry.Client, ref name.Reference, verifier *attest.Verifier) (Verified, error) {
	result := Verified{Ref: ref.String()}
	top, err := c.Get(ctx, ref)
	if err != nil {
		return result, err
	}
	if top == nil {
		return result, fmt.Errorf("%s does not exist", ref)
	}
	repository := ref.Context()
	result.Digest = top.Digest
	images := []v1.Descriptor{top.Descriptor}
	if top.MediaType.IsIndex() {
		if images, err = registry.Children(top.Manifest); err != nil {
			return result, fmt.Errorf("%s: %w: %w", ref, registry.ErrDamaged, err)
		}
	}
	subjects := []v1.Hash{top.Digest}
	for _, d := range images {
		if err := verifyImage(ctx, c, repository, d, &result); err != nil {
			return result, fmt.Errorf("%s: %w", ref, err)
		}
		if top.MediaType.IsIndex() && registry.IsPlatformImage(d) {
			subjects = append(subjects, d.Digest)
		}
	}
	for _, digest := range subjects {
		if err := verifyAttached(ctx, c, repository, digest, &result); err != nil {
			return result, fmt.Errorf("%s: %w", ref, err)
		}
		if verifier == nil {
			continue
		}
		if err := attest.CheckSignature(ctx, c, repository, digest, verifier); err != nil {
			return result, err
		}
	}
	result.Signed = verifier != nil
	return result, nil
}

func verifyImage(ctx context.Context, c *registry.Client, repository name.Repository, d v1.Descriptor, result *Verified) error {
	img, err := c.Image(ctx, repository, d.Digest)
	if err != nil {
		return err
	}
	m, err := img.Manifest()
	if err != nil {
		return fmt.Errorf("%w: manifest %s: %w", registry.ErrDamaged, d.Digest, err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return damaged(c, repository, m.Config.Digest, err)
	}
	isImage := registry.IsPlatformImage(d) || d.Platform == nil && len(config.RootFS.DiffIDs) > 0
	if isImage && len(config.RootFS.DiffIDs) != len(m.Layers) {
		return fmt.Errorf("%w: manifest %s has %d layers, its configuration speaks of %d", registry.ErrDamaged, d.Digest, len(m.Layers), len(config.RootFS.DiffIDs))
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(c.Parallel())
	for i, layer := range m.Layers {
		if !layer.MediaType.IsDistributable() {
			continue
		}
		var unpacked v1.Hash
		if isImage {
			unpacked = config.RootFS.DiffIDs[i]
		}
		g.Go(func() error { return verifyBlob(gctx, c, repository, layer, unpacked) })
		result.Blobs++
		result.Bytes += layer.Size
	}
	result.Blobs++
	result.Bytes += m.Config.Size
	if err := g.Wait(); err != nil {
		return err
	}
	if isImage {
		platform := v1.Platform{OS: config.OS, Architecture: config.Architecture}
		result.Platforms = append(result.Platforms, platform.String())
	}
	return nil
}

// verifyBlob reads a blob once: its size and digest are checked on the way, and
// what it unpacks to, unless unpacked is zero.
func verifyBlob(ctx context.Context, c *registry.Client, repository name.Repository, blob v1.Descriptor, unpacked v1.Hash) error {
	layer, err := c.Layer(ctx, repository.Digest(blob.Digest.String()))
	if err != nil {
		return c.Explain(repository, err)
	}
	compressed, err := layer.Compressed()
	if registry.IsNotFound(err) {
		return fmt.Errorf("%w: blob %s is not there", registry.ErrDamaged, blob.Digest)
	}
	if err != nil {
		return damaged(c, repository, blob.Digest, err)
	}
	defer compressed.Close()
	size := &sized{Reader: compressed}
	got, err := unpackedDigest(size)
	if _, rest := io.Copy(io.Discard, size); rest != nil {
		err = rest // a broken download explains whatever else went wrong
	}
	switch {
	case err != nil:
		return damaged(c, repository, blob.Digest, err)
	case size.n != blob.Size:
		return fmt.Errorf("%w: blob %s has %d bytes, its manifest says %d", registry.ErrDamaged, blob.Digest, size.n, blob.Size)
	case unpacked != (v1.Hash{}) && got != unpacked:
		return fmt.Errorf("%w: blob %s unpacks to %s, the configuration says %s", registry.ErrDamaged, blob.Digest, got, unpacked)
	}
	return nil
}

// damaged tells damage from a registry that does not answer.
func damaged(c *registry.Client, repository name.Repository, digest v1.Hash, err error) error {
	if registry.IsRefusal(err) {
		return c.Explain(repository, err)
	}
	return fmt.Errorf("%w: blob %s of %s: %s", registry.ErrDamaged, digest, repository, c.Redact(registry.FirstLine(err)))
}

type sized struct {
	io.Reader
	n int64
}

func (s *sized) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.n += int64(n)
	return n, err
}

// unpackedDigest is the digest of what a stream unpacks to, by gzip, zstd or
// not at all.
func unpackedDigest(r io.Reader) (v1.Hash, error) {
	buffered := bufio.NewReader(r)
	magic, _ := buffered.Peek(4) // a shorter stream shows when it is read
	var plain io.Reader = buffered
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		unzipped, err := gzip.NewReader(buffered)
		if err != nil {
			return v1.Hash{}, err
		}
		plain = unzipped
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		unzipped, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(64<<20))
		if err != nil {
			return v1.Hash{}, err
		}
		defer unzipped.Close()
		plain = unzipped
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, plain); err != nil {
		return v1.Hash{}, err
	}
	_, err := io.Copy(io.Discard, buffered)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}, err
}

// verifyAttached reads the documents of an image.
func verifyAttached(ctx context.Context, c *registry.Client, repository name.Repository, digest v1.Hash, result *Verified) error {
	attached, err := c.Referrers(ctx, repository.Digest(digest.String()))
	if err != nil {
		return err
	}
	for _, d := range attached {
		m, err := c.Image(ctx, repository, d.Digest)
		if err != nil {
			return err
		}
		parsed, err := m.Manifest()
		if err != nil {
			return fmt.Errorf("%w: attached %s: %w", registry.ErrDamaged, d.Digest, err)
		}
		for _, blob := range parsed.Layers {
			if err := verifyBlob(ctx, c, repository, blob, v1.Hash{}); err != nil {
				return err
			}
			result.Blobs++
			result.Bytes += blob.Size
		}
		if d.ArtifactType == attest.TypeLock {
			if err := verifyLock(ctx, c, repository, digest, d); err != nil {
				return err
			}
		}
		result.Attached++
	}
	return nil
}

// verifyLock compares an attached lockfile with what the image says of it.
func verifyLock(ctx context.Context, c *registry.Client, repository name.Repository, digest v1.Hash, d v1.Descriptor) error {
	config, err := c.Config(ctx, repository, v1.Descriptor{Digest: digest})
	if err != nil {
		return err
	}
	text, err := c.Document(ctx, repository, []v1.Descriptor{d}, attest.TypeLock)
	if err != nil {
		return err
	}
	return attest.CheckLock(repository.Digest(digest.String()), config, text)
}
