package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/openbraininstitute/spacktainers/buildcache/index"
	"github.com/openbraininstitute/spacktainers/buildcache/s3"
	"github.com/openbraininstitute/spacktainers/internal/testing/synth"
)

// parseOnly measures how an index becomes a graph, without any network.
func (b *bench) parseOnly(ctx context.Context, specs int) error {
	name := filepath.Join(b.dir, "index.json")
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer os.Remove(name)
	if err := synth.Index(f, specs, 1); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	_, err = b.step(ctx, step{Do: "parse", Mirror: "s3://none", File: name}, "parse", specs, b.repeat, nil)
	return err
}

func parse(_ context.Context, s step, _ *s3.Store, r *report) error {
	f, err := os.Open(s.File)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	g, err := index.Read(f, info.Size())
	if err != nil {
		return err
	}
	if len(g.Entries()) == 0 {
		return fmt.Errorf("the index is empty")
	}
	r.Objects = len(g.Entries())
	return nil
}
