package main

import (
	"context"
	"fmt"
	"io"
	"iter"

	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/s3"
)

// list walks over the bucket, a page after the other.
func list(ctx context.Context, _ step, store *s3.Store, r *report) error {
	return count(store.List(ctx, ""), r)
}

func count(objects iter.Seq2[buildcache.Object, error], r *report) error {
	for _, err := range objects {
		if err != nil {
			return err
		}
		r.Objects++
	}
	return nil
}

// listInShards lists prefixes side by side that divide a cache evenly. Those of
// layout 2 are guessed from what packages are called.
func listInShards(ctx context.Context, s step, store *s3.Store, r *report) error {
	var shards []string
	if s.Layout == 3 {
		for _, c := range "0123456789abcdef" {
			shards = append(shards, "blobs/sha256/"+string(c))
		}
	} else {
		shards = []string{"build_cache/linux-debian12-x86_64_v3/"}
		for _, c := range "abcdefghijklmnopqrstuvwxyz" {
			shards = append(shards, "build_cache/linux-debian12-x86_64_v3-gcc-12.2.0-"+string(c))
		}
	}
	return count(store.ListShards(ctx, "", func([]buildcache.Object) []string { return shards }), r)
}

// readIndex reads the index and throws it away.
func readIndex(ctx context.Context, s step, store *s3.Store, _ *report) error {
	key, err := indexKey(ctx, s, store)
	if err != nil {
		return err
	}
	body, _, err := store.Get(ctx, key)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(io.Discard, body)
	return err
}

// indexKey is the index of layout 2, or the blob that a manifest says is it.
func indexKey(ctx context.Context, s step, store *s3.Store) (string, error) {
	if s.Layout == 2 {
		return "build_cache/index.json", nil
	}
	m, err := readManifest(ctx, store, "v3/manifests/index/index.manifest.json")
	if err != nil {
		return "", err
	}
	return m.Blobs[0].Key(), nil
}

func readManifest(ctx context.Context, store *s3.Store, key string) (*buildcache.Manifest, error) {
	text, err := read(ctx, store, key)
	if err != nil {
		return nil, err
	}
	m, err := buildcache.ParseManifest(text)
	if err == nil && len(m.Blobs) == 0 {
		err = fmt.Errorf("%s names nothing", key)
	}
	return m, err
}

func read(ctx context.Context, store *s3.Store, key string) ([]byte, error) {
	body, _, err := store.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

// listAndIndex is the floor of every plan.
func listAndIndex(ctx context.Context, s step, store *s3.Store, r *report) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return list(ctx, s, store, r) })
	group.Go(func() error { return readIndex(ctx, s, store, r) })
	return group.Wait()
}
