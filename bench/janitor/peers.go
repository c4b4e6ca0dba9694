package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/s3"
)

// What others send, replayed: the same requests in the same order and as many
// at a time, by a client that spends hardly anything on them. The tools
// themselves take longer.

// compare replays others on a cache of their own, and puts their figures in
// relation to a prune of ours of the same size.
func (b *bench) compare(ctx context.Context, layout int) error {
	if b.peers == 0 {
		return nil
	}
	ours := b.find("prune", b.peers, layout)
	if ours == nil {
		if err := b.clean(ctx, b.peers, layout); err != nil {
			return err
		}
		ours = b.find("prune", b.peers, layout)
	}
	c, err := b.fill(ctx, fmt.Sprintf("peers-layout-%d", layout), b.peers, layout)
	if err != nil {
		return err
	}
	names := []string{"predecessor"}
	if layout == 3 {
		names = []string{"spack prune", "spack update-index"}
	}
	sum := &Figures{Requests: map[string]int{}}
	for _, name := range names {
		f, err := b.step(ctx, step{Do: name, Mirror: "s3://" + c.bucket, Layout: layout, File: c.stays}, name, b.peers, 1, nil)
		if err != nil {
			return err
		}
		sum.Total, sum.Wall, sum.CPU, sum.Peak = sum.Total+f.Total, sum.Wall+f.Wall, sum.CPU+f.CPU, max(sum.Peak, f.Peak)
	}
	last := b.results[len(b.results)-1] // Spack's two belong together
	last.Ours = &Ratios{float64(sum.Total) / float64(ours.Total), sum.Wall / ours.Wall, sum.CPU / ours.CPU, float64(sum.Peak) / float64(max(1, ours.Peak))}
	return nil
}

func (b *bench) find(name string, specs, layout int) *Figures {
	i := slices.IndexFunc(b.results, func(f *Figures) bool { return f.Step == name && f.Specs == specs && f.Layout == layout })
	if i < 0 {
		return nil
	}
	return b.results[i]
}

// stays reads the hashes of what is to stay.
func stays(file string) (map[string]bool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	hashes := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		hashes[strings.TrimSpace(line)] = true
	}
	return hashes, nil
}

// predecessor loads the whole index and asks for each of its entries by itself,
// one after the other. As that ends only when nothing was deleted, it does it
// twice. The index stays as it is.
func predecessor(ctx context.Context, s step, store *s3.Store, r *report) error {
	keep, err := stays(s.File)
	if err != nil {
		return err
	}
	for range 2 {
		text, err := read(ctx, store, "build_cache/index.json")
		if err != nil {
			return err
		}
		var index map[string]any
		if err := json.Unmarshal(text, &index); err != nil {
			return err
		}
		var goes []string
		for hash, entry := range index["database"].(map[string]any)["installs"].(map[string]any) {
			if entry.(map[string]any)["in_buildcache"] != true {
				continue
			}
			specFile, tarball := keysOf(hash, entry.(map[string]any)["spec"].(map[string]any))
			_, err := store.Stat(ctx, specFile)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			if err == nil && !keep[hash] {
				goes = append(goes, specFile, tarball)
			}
		}
		if err := store.Delete(ctx, goes); err != nil {
			return err
		}
		r.Objects += len(goes)
		r.Gone += len(goes) / 2
	}
	return nil
}

func keysOf(hash string, spec map[string]any) (specFile, tarball string) {
	arch, compiler := spec["arch"].(map[string]any), spec["compiler"].(map[string]any)
	platform := fmt.Sprintf("%s-%s-%s", arch["platform"], arch["platform_os"], arch["target"])
	toolchain := fmt.Sprintf("%s-%s", compiler["name"], compiler["version"])
	name := fmt.Sprintf("%s-%s", spec["name"], spec["version"])
	stem := strings.Join([]string{platform, toolchain, name, hash}, "-")
	return "build_cache/" + stem + ".spec.json", "build_cache/" + strings.Join([]string{platform, toolchain, name, stem}, "/") + ".spack"
}

// spackPool is how many requests Spack has under way where it has several.
const spackPool = 4

// spackPrune is spack buildcache prune -k: each manifest is looked at twice, and
// those that stay are read twice, one after the other; what goes is deleted
// object by object.
func spackPrune(ctx context.Context, s step, store *s3.Store, r *report) error {
	keep, err := stays(s.File)
	if err != nil {
		return err
	}
	manifests, err := keys(ctx, store, "v3/manifests/spec/")
	if err != nil {
		return err
	}
	var going []string
	used := map[string]bool{}
	for pass := range 2 {
		for _, key := range manifests {
			if _, err := store.Stat(ctx, key); err != nil {
				return err
			}
			hash, _ := buildcache.KeyHash(key)
			if !keep[string(hash)] {
				if pass == 0 {
					going = append(going, key)
				}
				continue
			}
			m, err := readManifest(ctx, store, key)
			if err != nil {
				return err
			}
			for _, b := range m.Blobs {
				used[b.Key()] = true
			}
		}
	}
	index, err := readManifest(ctx, store, "v3/manifests/index/index.manifest.json")
	if err != nil {
		return err
	}
	used[index.Blobs[0].Key()] = true
	blobs, err := keys(ctx, store, "blobs/")
	if err != nil {
		return err
	}
	blobs = slices.DeleteFunc(blobs, func(key string) bool { return used[key] })
	r.Objects, r.Gone = len(going)+len(blobs), len(going)
	if err := each(ctx, going, func(ctx context.Context, key string) error { return store.Delete(ctx, []string{key}) }); err != nil {
		return err
	}
	return each(ctx, blobs, func(ctx context.Context, key string) error {
		if _, err := store.Stat(ctx, key); err != nil {
			return err
		}
		return store.Delete(ctx, []string{key})
	})
}

// spackUpdateIndex is spack buildcache update-index: three requests for each
// spec, one after the other.
func spackUpdateIndex(ctx context.Context, _ step, store *s3.Store, r *report) error {
	manifests, err := keys(ctx, store, "v3/manifests/spec/")
	if err != nil {
		return err
	}
	var index bytes.Buffer
	for _, key := range manifests {
		if _, err := store.Stat(ctx, key); err != nil {
			return err
		}
		m, err := readManifest(ctx, store, key)
		if err != nil {
			return err
		}
		spec, err := read(ctx, store, m.Blobs[len(m.Blobs)-1].Key())
		if err != nil {
			return err
		}
		index.Write(spec) // something as long
	}
	r.Objects = len(manifests)
	for _, key := range []string{"blobs/sha256/00/" + strings.Repeat("0", 64), "v3/manifests/index/index.manifest.json"} {
		if _, err := store.Put(ctx, key, bytes.NewReader(index.Bytes()), int64(index.Len()), buildcache.PutOptions{}); err != nil {
			return err
		}
	}
	return nil
}

func keys(ctx context.Context, store *s3.Store, prefix string) (all []string, err error) {
	for o, err := range store.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		all = append(all, o.Key)
	}
	return all, nil
}

func each(ctx context.Context, keys []string, f func(context.Context, string) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(spackPool)
	for _, key := range keys {
		group.Go(func() error { return f(ctx, key) })
	}
	return group.Wait()
}
