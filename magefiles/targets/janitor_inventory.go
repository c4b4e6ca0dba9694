package targets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache/inventory"
)

// openInventory opens the S3 Inventory of the bucket that a mirror lies in.
// Where S3 has delivered it, keys in its manifest are relative to that bucket;
// a copy in a folder lies as it does there, or all files beside the manifest.
func (r janitorRun) openInventory(ctx context.Context, mirror string) (*inventory.Inventory, error) {
	in, err := bucketOf(mirror)
	if err != nil {
		return nil, err
	}
	at, key := filepath.Split(r.inventory)
	if at == "" {
		at = "."
	}
	if rest, ok := strings.CutPrefix(r.inventory, "s3://"); ok {
		bucket, path, _ := strings.Cut(rest, "/")
		at, key = "s3://"+bucket, path
	}
	store, _, err := r.openStore(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("inventory: %w", err)
	}
	return inventory.Open(ctx, store, key, in)
}

// bucketOf says which part of a bucket a mirror is.
func bucketOf(mirror string) (inventory.Mirror, error) {
	rest, ok := strings.CutPrefix(mirror, "s3://")
	if !ok {
		return inventory.Mirror{}, wrongCall("--inventory and --batch-manifest are for buckets: %s is none", mirror)
	}
	bucket, prefix, _ := strings.Cut(rest, "/")
	return inventory.Mirror{Bucket: bucket, Prefix: prefix}, nil
}

// readyToHandOver makes sure that handOver will work, before anything is
// changed. What an earlier run has handed over goes: a second step of then must
// not be taken for one of now.
func (r janitorRun) readyToHandOver(mirror string) error {
	if _, err := bucketOf(mirror); err != nil {
		return err
	}
	if info, err := os.Stat(filepath.Dir(r.batch)); err != nil || !info.IsDir() {
		return wrongCall("--batch-manifest=%s: there is no folder %s: make it first", r.batch, filepath.Dir(r.batch))
	}
	for step := 1; step <= 2; step++ {
		if err := os.Remove(r.batchFile(step)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("batch manifest: %w", err)
		}
	}
	return nil
}

// batchFile is where a step is handed over: FILE.csv, FILE-2.csv.
func (r janitorRun) batchFile(step int) string {
	if step == 1 {
		return r.batch
	}
	ext := filepath.Ext(r.batch)
	return fmt.Sprintf("%s-%d%s", strings.TrimSuffix(r.batch, ext), step, ext)
}

// handOver writes what somebody else shall delete. The first step must be done
// before the second one begins: then no spec file names a tarball that is gone.
func (r janitorRun) handOver(mirror string, step int, keys []string) error {
	in, err := bucketOf(mirror)
	if err != nil {
		return err
	}
	file := r.batchFile(step)
	if err := inventory.WriteBatch(file, in, targetsOf(keys)); err != nil {
		return err
	}
	r.Log.Info("to be deleted by S3 Batch Operations", "step", step, "objects", len(keys), "manifest", file)
	return nil
}

func targetsOf(keys []string) iter.Seq[inventory.Target] {
	return func(yield func(inventory.Target) bool) {
		for _, key := range keys {
			if !yield(inventory.Target{Key: key}) {
				return
			}
		}
	}
}
