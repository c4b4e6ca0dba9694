package rootset

import (
	"context"
	"iter"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/file"
)

// forgetful is a store of which one listing is empty.
type forgetful struct {
	buildcache.Store
	lists, empty int
}

func (f *forgetful) List(ctx context.Context, prefix string) iter.Seq2[buildcache.Object, error] {
	f.lists++
	if f.lists == f.empty {
		return func(func(buildcache.Object, error) bool) {}
	}
	return f.Store.List(ctx, prefix)
}

func TestAListingThatLeavesASetOutHidesNone(t *testing.T) {
	dir := t.TempDir()
	text, err := EncodeSet("somebody", time.Hour, []Origin{{Name: "a build", Specs: []buildcache.Hash{"abcdefghijklmnopqrstuvwxyz234567"}}})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, filepath.FromSlash(Prefix), "builds", "ONE")
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, text, 0o644); err != nil {
		t.Fatal(err)
	}
	for empty := range 3 {
		sets, err := ReadSets(t.Context(), &forgetful{Store: file.New(dir), empty: empty}, &SetMemory{})
		if err != nil || len(sets) != 1 || sets[0].Problem != "" || sets[0].Owner != "somebody" {
			t.Errorf("listing %d is empty: got %+v, %v", empty, sets, err)
		}
	}
}
