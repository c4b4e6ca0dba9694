package sif

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"github.com/openbraininstitute/spacktainers/internal/testing/tooltest"
)

func TestAFullDiskLeavesNothing(t *testing.T) {
	if os.Getuid() != 0 {
		if tooltest.Required() {
			t.Fatal("needs root for a small disk")
		}
		t.Skip("needs root for a small disk")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	b := native(t)
	b.Folder = Folder(filepath.Join(dir, "built"))
	tree, record := put(t, "amd64", v1.Config{}, layerOf(t, regular("noise", noise(4<<20))))
	if _, _, err := b.Build(t.Context(), tree, record, ""); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a SIF of 4 MB on a disk of 2 MB: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "built", "*")); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
}

// noise does not compress.
func noise(n int) string {
	var b strings.Builder
	for sum := sha256.Sum256(nil); b.Len() < n; sum = sha256.Sum256(sum[:]) {
		b.Write(sum[:])
	}
	return b.String()[:n]
}

// A bigLayer is a tar with one file of many zeros and an x at their end, which
// is on no disk.
type bigLayer struct {
	size   int64
	digest v1.Hash
}

func newBigLayer(t *testing.T, size int64) *bigLayer {
	t.Helper()
	l := &bigLayer{size: size}
	body, err := l.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	if _, err := io.Copy(h, body); err != nil {
		t.Fatal(err)
	}
	l.digest = v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
	return l
}

func (l *bigLayer) Digest() (v1.Hash, error)             { return l.digest, nil }
func (l *bigLayer) DiffID() (v1.Hash, error)             { return l.digest, nil }
func (l *bigLayer) Uncompressed() (io.ReadCloser, error) { return l.Compressed() }
func (l *bigLayer) Size() (int64, error)                 { return l.size, nil }
func (l *bigLayer) MediaType() (types.MediaType, error)  { return types.OCIUncompressedLayer, nil }

func (l *bigLayer) Compressed() (io.ReadCloser, error) {
	from, to := io.Pipe()
	go func() {
		w := tar.NewWriter(to)
		err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "big", Mode: 0o644, Size: l.size})
		zeros := make([]byte, 1<<20)
		for left := l.size - 1; left > 0 && err == nil; {
			var n int
			n, err = w.Write(zeros[:min(left, int64(len(zeros)))])
			left -= int64(n)
		}
		if err == nil {
			_, err = w.Write([]byte("x"))
		}
		to.CloseWithError(errors.Join(err, w.Close()))
	}()
	return from, nil
}

func TestAFileOfFiveGigabytes(t *testing.T) {
	const size = 5 << 30
	a := needApptainer(t)
	img, err := mutate.AppendLayers(empty.Image, busyboxLayer(t, tooltest.Need(t, "busybox")), newBigLayer(t, size))
	if err != nil {
		t.Fatal(err)
	}
	b := native(t)
	path := filepath.Join(t.TempDir(), "big.sif")
	s := source{image: img}
	s.record.Digest = v1.Hash{Algorithm: "sha256", Hex: "0"}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config.Architecture = "amd64"
	if s.image, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	if err := b.Engine.write(t.Context(), b, s, path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 64<<20 {
		t.Errorf("five gigabytes of zeros take %d bytes, %v", info.Size(), err)
	}
	if got := a.run("exec", path, "/bin/busybox", "stat", "-c", "%s", "/big"); got != "5368709120" {
		t.Errorf("it has %s bytes", got)
	}
	if got := a.run("exec", path, "/bin/busybox", "tail", "-c", "1", "/big"); got != "x" {
		t.Errorf("its last byte is %q", got)
	}
}

func TestLayersMayBeCompressedInAnyWay(t *testing.T) {
	var plain bytes.Buffer
	w := tar.NewWriter(&plain)
	if err := errors.Join(w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "a", Mode: 0o644}), w.Close()); err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z, err := zstd.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(plain.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"plain": plain.Bytes(), "zstd": packed.Bytes()} {
		sum := sha256.Sum256(text)
		layer := rawLayer{text: text, digest: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}}
		tree, err := flatten(t.Context(), []v1.Layer{layer})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := tree.find("a"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A rawLayer is served as it is.
type rawLayer struct {
	v1.Layer
	text   []byte
	digest v1.Hash
}

func (l rawLayer) Digest() (v1.Hash, error) { return l.digest, nil }

func (l rawLayer) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(l.text)), nil
}
