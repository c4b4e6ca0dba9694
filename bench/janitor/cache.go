package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
	"github.com/openbraininstitute/spacktainers/internal/testing/s3test"
	"github.com/openbraininstitute/spacktainers/internal/testing/synth"
)

// A cache is a bucket that was filled, and what is to stay of it.
type cache struct {
	recipe synth.Cache
	bucket string
	stay   int           // specs of the cache that stay: about half
	big    string        // a lockfile that keeps them
	small  string        // a lockfile of a few of them, for when age keeps the others
	age    time.Duration // what is younger stays, with all that it needs: the same specs
	stays  string        // a file of their hashes
}

// smallRoots is how many roots the small lockfile has.
const smallRoots = 20

// fill makes a bucket with a cache, and the files that say what stays.
func (b *bench) fill(ctx context.Context, bucket string, specs, layout int) (*cache, error) {
	c := &cache{bucket: bucket, recipe: synth.Cache{
		Specs: specs, Seed: 1, Layout: layout, Shallow: !b.dags, Newest: b.now.Add(-grace - 24*time.Hour),
	}}
	if err := b.choose(c); err != nil {
		return nil, err
	}
	if err := b.server.MakeBucket(ctx, bucket); err != nil {
		return nil, err
	}
	start, n := time.Now(), 0
	err := b.server.Fill(ctx, bucket, func(put s3test.PutFunc) error {
		return c.recipe.Fill(func(o synth.Object) error {
			n++
			return put(o.Key, o.Body, o.ModTime)
		})
	})
	fmt.Fprintf(b.log, "%s: %d specs, %d objects in %.1f s\n", bucket, specs, n, time.Since(start).Seconds())
	return c, err
}

// choose finds how many of the newest specs need, with themselves, half of the
// cache, and writes that down in each way in which it can be said.
func (b *bench) choose(c *cache) error {
	var text bytes.Buffer
	if err := c.recipe.Index(&text); err != nil {
		return err
	}
	g, err := index.Read(&text, int64(text.Len()))
	if err != nil {
		return err
	}
	low, high := 1, c.recipe.Specs/2
	for low < high {
		if n := (low + high + 1) / 2; len(needed(g, c.recipe, n)) > c.recipe.Specs/2 {
			high = n - 1
		} else {
			low = n
		}
	}
	hashes := needed(g, c.recipe, low)
	c.stay = len(hashes)
	c.age = b.now.Sub(c.recipe.ModTime(c.recipe.Specs-low)) + 4000*time.Hour/time.Duration(c.recipe.Specs)
	name := filepath.Join(b.dir, c.bucket)
	c.big, c.small, c.stays = name+".lock", name+".small.lock", name+".stays"
	var lines bytes.Buffer
	for _, h := range hashes {
		fmt.Fprintln(&lines, h)
	}
	for file, content := range map[string][]byte{
		c.big: c.recipe.Lockfile(c.recipe.Roots(low)...), c.small: c.recipe.Lockfile(c.recipe.Roots(min(low, smallRoots))...), c.stays: lines.Bytes(),
	} {
		if err := os.WriteFile(file, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// needed returns the specs in the cache that its newest n need.
func needed(g *index.Graph, recipe synth.Cache, n int) (hashes []buildcache.Hash) {
	var roots []uint32
	for _, i := range recipe.Roots(n) {
		id, _ := g.Lookup(recipe.Hash(i))
		roots = append(roots, id)
	}
	marked := g.Mark(roots, buildcache.Build|buildcache.Link|buildcache.Run)
	for _, id := range g.Entries() {
		if marked.Has(id) && g.InCache(id) {
			hashes = append(hashes, g.Hash(id))
		}
	}
	return hashes
}

// inCache returns how many specs of the recipe are in the cache.
func (c *cache) inCache() (n int) {
	for i := range c.recipe.Specs {
		if !c.recipe.External(i) {
			n++
		}
	}
	return n
}
