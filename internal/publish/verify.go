package publish

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/internal/image"
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

// ErrDamaged is the error for content that is not what its name says.
var ErrDamaged = errors.New("damaged")

// Verify reads everything behind a tag or digest back and checks every byte:
// each manifest and blob against its digest, each layer against what the
// configuration says it unpacks to, each lockfile against the image's label.
// With a verifier, index and images must be signed by its key.
func (c *Client) Verify(ctx context.Context, ref name.Reference, verifier *Verifier) (Verified, error) {
	result := Verified{Ref: ref.String()}
	top, err := c.get(ctx, ref)
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
		if images, err = childrenOf(top.Manifest); err != nil {
			return result, fmt.Errorf("%s: %w: %w", ref, ErrDamaged, err)
		}
	}
	subjects := []v1.Hash{top.Digest}
	for _, d := range images {
		if err := c.verifyImage(ctx, repository, d, &result); err != nil {
			return result, fmt.Errorf("%s: %w", ref, err)
		}
		if top.MediaType.IsIndex() && isPlatformImage(d) {
			subjects = append(subjects, d.Digest)
		}
	}
	for _, digest := range subjects {
		if err := c.verifyAttached(ctx, repository, digest, &result); err != nil {
			return result, fmt.Errorf("%s: %w", ref, err)
		}
		if verifier == nil {
			continue
		}
		if err := c.checkSignature(ctx, repository, digest, verifier); err != nil {
			return result, err
		}
	}
	result.Signed = verifier != nil
	return result, nil
}

func (c *Client) open(ctx context.Context, repository name.Repository, digest v1.Hash) (v1.Image, error) {
	ref := repository.Digest(digest.String())
	found, err := c.get(ctx, ref)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, fmt.Errorf("%w: %s is named, but not there", ErrDamaged, ref)
	}
	return found.Image()
}

func (c *Client) verifyImage(ctx context.Context, repository name.Repository, d v1.Descriptor, result *Verified) error {
	img, err := c.open(ctx, repository, d.Digest)
	if err != nil {
		return err
	}
	m, err := img.Manifest()
	if err != nil {
		return fmt.Errorf("%w: manifest %s: %w", ErrDamaged, d.Digest, err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return c.damaged(repository, m.Config.Digest, err)
	}
	isImage := isPlatformImage(d) || d.Platform == nil && len(config.RootFS.DiffIDs) > 0
	if isImage && len(config.RootFS.DiffIDs) != len(m.Layers) {
		return fmt.Errorf("%w: manifest %s has %d layers, its configuration speaks of %d", ErrDamaged, d.Digest, len(m.Layers), len(config.RootFS.DiffIDs))
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(c.parallel)
	for i, layer := range m.Layers {
		if !layer.MediaType.IsDistributable() {
			continue
		}
		var unpacked v1.Hash
		if isImage {
			unpacked = config.RootFS.DiffIDs[i]
		}
		g.Go(func() error { return c.verifyBlob(gctx, repository, layer, unpacked) })
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
func (c *Client) verifyBlob(ctx context.Context, repository name.Repository, blob v1.Descriptor, unpacked v1.Hash) error {
	layer, err := c.puller.Layer(ctx, repository.Digest(blob.Digest.String()))
	if err != nil {
		return c.explain(repository.RegistryStr(), err)
	}
	compressed, err := layer.Compressed()
	if isNotFound(err) {
		return fmt.Errorf("%w: blob %s is not there", ErrDamaged, blob.Digest)
	}
	if err != nil {
		return c.damaged(repository, blob.Digest, err)
	}
	defer compressed.Close()
	size := &sized{Reader: compressed}
	got, err := unpackedDigest(size)
	if _, rest := io.Copy(io.Discard, size); rest != nil {
		err = rest // a broken download explains whatever else went wrong
	}
	switch {
	case err != nil:
		return c.damaged(repository, blob.Digest, err)
	case size.n != blob.Size:
		return fmt.Errorf("%w: blob %s has %d bytes, its manifest says %d", ErrDamaged, blob.Digest, size.n, blob.Size)
	case unpacked != (v1.Hash{}) && got != unpacked:
		return fmt.Errorf("%w: blob %s unpacks to %s, the configuration says %s", ErrDamaged, blob.Digest, got, unpacked)
	}
	return nil
}

// damaged tells damage from a registry that does not answer.
func (c *Client) damaged(repository name.Repository, digest v1.Hash, err error) error {
	if statusOf(err) != 0 && !isNotFound(err) {
		return c.explain(repository.RegistryStr(), err)
	}
	return fmt.Errorf("%w: blob %s of %s: %s", ErrDamaged, digest, repository, c.keys.redact(firstLine(err)))
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
func (c *Client) verifyAttached(ctx context.Context, repository name.Repository, digest v1.Hash, result *Verified) error {
	attached, err := c.referrers(ctx, repository.Digest(digest.String()))
	if err != nil {
		return err
	}
	for _, d := range attached {
		m, err := c.open(ctx, repository, d.Digest)
		if err != nil {
			return err
		}
		parsed, err := m.Manifest()
		if err != nil {
			return fmt.Errorf("%w: attached %s: %w", ErrDamaged, d.Digest, err)
		}
		for _, blob := range parsed.Layers {
			if err := c.verifyBlob(ctx, repository, blob, v1.Hash{}); err != nil {
				return err
			}
			result.Blobs++
			result.Bytes += blob.Size
		}
		if d.ArtifactType == TypeLock {
			if err := c.verifyLock(ctx, repository, digest, d); err != nil {
				return err
			}
		}
		result.Attached++
	}
	return nil
}

// verifyLock compares an attached lockfile with what the image says of it.
func (c *Client) verifyLock(ctx context.Context, repository name.Repository, digest v1.Hash, d v1.Descriptor) error {
	config, err := c.config(ctx, repository, v1.Descriptor{Digest: digest})
	if err != nil {
		return err
	}
	text, err := c.document(ctx, repository, []v1.Descriptor{d}, TypeLock)
	if err != nil {
		return err
	}
	return checkLock(repository.Digest(digest.String()), config, text)
}

func checkLock(ref name.Digest, config *v1.ConfigFile, text []byte) error {
	sum := sha256.Sum256(text)
	if want := config.Config.Labels[image.LabelLock]; want != "" && want != hex.EncodeToString(sum[:]) {
		return fmt.Errorf("%w: the lockfile attached to %s has sha256 %x, the image says %s", ErrDamaged, ref, sum, want)
	}
	return nil
}

// Verify checks what is behind a reference, for a single call. It returns the
// digest that the reference names. Credentials come from the auth files.
func Verify(ctx context.Context, ref string) (v1.Hash, error) {
	c, err := NewClient(Options{})
	if err != nil {
		return v1.Hash{}, err
	}
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return v1.Hash{}, err
	}
	result, err := c.Verify(ctx, parsed, nil)
	return result.Digest, err
}
