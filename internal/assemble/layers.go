package assemble

import (
	"archive/tar"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// maxLayers is how many layers an image may have, its base included: well
// under the 127 at which overlay mounts of container engines give up.
const maxLayers = 100

// bySharing orders packages so that those most others of the image need come
// first: the C++ runtime and zlib are in most images too, and so are their
// layers. It looks at nothing but the DAG, since the same lockfile must give
// the same image everywhere.
func bySharing(packages []payload) []payload {
	index := map[buildcache.Hash]int{}
	for i, p := range packages {
		index[p.Spec.Hash] = i
	}
	dependents := make([]int, len(packages))
	for i := range packages {
		seen := make([]bool, len(packages))
		seen[i] = true
		for stack := []int{i}; len(stack) > 0; {
			at := packages[stack[len(stack)-1]]
			stack = stack[:len(stack)-1]
			for _, dep := range at.Spec.Dependencies {
				to, ok := index[dep.Hash]
				if dep.Types&buildcache.Runtime == 0 || !ok || seen[to] {
					continue
				}
				seen[to] = true
				dependents[to]++
				stack = append(stack, to)
			}
		}
	}
	sorted := slices.Clone(packages)
	slices.SortFunc(sorted, func(a, b payload) int {
		return cmp.Or(
			cmp.Compare(dependents[index[b.Spec.Hash]], dependents[index[a.Spec.Hash]]),
			cmp.Compare(a.Spec.Name, b.Spec.Name),
			cmp.Compare(a.Spec.Hash, b.Spec.Hash))
	})
	return sorted
}

// group distributes packages over at most limit layers. Where there are more
// packages than layers, the first half of the layers, for the most shared
// packages, still holds one each; the others share the second half evenly, so
// that a change costs one of its layers and they are made in parallel.
func group(packages []payload, limit int) [][]payload {
	single := len(packages)
	if single > limit {
		single = limit / 2
	}
	var groups [][]payload
	for i := range single {
		groups = append(groups, packages[i:i+1])
	}
	rest := packages[single:]
	for left := limit - single; len(rest) > 0; left-- {
		n := (len(rest) + left - 1) / left
		groups = append(groups, rest[:n])
		rest = rest[n:]
	}
	return groups
}

// layerOf returns the layer of a group: the one of a single package, and one
// new tarball for several.
func (b Builder) layerOf(ctx context.Context, group []payload) (layer, error) {
	if len(group) == 1 {
		return group[0].layer, nil
	}
	return b.writeLayer(func(w *tar.Writer) error {
		folders := map[string]bool{}
		for _, p := range group {
			if err := b.copyPackage(ctx, w, p, folders); err != nil {
				return fmt.Errorf("layer with %s: %w", p.Spec, err)
			}
		}
		return nil
	})
}

// copyPackage appends a package's layer to w, without the parent folders that
// an earlier one has brought.
func (b Builder) copyPackage(ctx context.Context, w *tar.Writer, p payload, folders map[string]bool) error {
	return b.readBlob(ctx, p.Digest, func(header *tar.Header, body io.Reader) error {
		if header.Typeflag == tar.TypeDir {
			if folders[header.Name] {
				return nil
			}
			folders[header.Name] = true
		}
		if err := w.WriteHeader(header); err != nil {
			return err
		}
		_, err := io.Copy(w, body)
		return err
	})
}

// writeLayer stores a layer of our own making. Its compressor is the fastest
// level of a library whose version go.mod pins, so that every machine writes
// the same bytes.
func (b Builder) writeLayer(fill func(*tar.Writer) error) (layer, error) {
	sum := sha256.New()
	stored, err := b.blobs().write(func(w io.Writer) error {
		zipped, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
		if err != nil {
			return err
		}
		archive := tar.NewWriter(io.MultiWriter(zipped, sum))
		if err := fill(archive); err != nil {
			return err
		}
		if err := archive.Close(); err != nil {
			return err
		}
		return zipped.Close()
	})
	return layer{stored, v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}}, err
}
