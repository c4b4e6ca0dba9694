package targets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/inventory"
)

// openInventory opens the S3 Inventory of the bucket that a mirror is in.
// Where S3 has delivered it, keys in its manifest are relative to that bucket;
// a copy in a folder lies as it does there, or all files beside the manifest.
func (r janitorRun) openInventory(ctx context.Context, mirror buildcache.Location) (*inventory.Inventory, error) {
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
func bucketOf(mirror buildcache.Location) (inventory.Mirror, error) {
	if !mirror.IsBucket() {
		return inventory.Mirror{}, wrongCall("--inventory and --batch-manifest are for buckets: %s is none", mirror)
	}
	return inventory.Mirror{Bucket: mirror.Bucket, Prefix: mirror.Prefix}, nil
}

// readyToHandOver makes sure that handOver will work, before anything is
// changed. What an earlier run has handed over goes: a second step of then must
// not be taken for one of now.
func (r janitorRun) readyToHandOver(mirror buildcache.Location) error {
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

// versionsFor refuses to hand over where what goes could not be taken back: the
// other process deletes later and without a look.
func (r janitorRun) versionsFor(ctx context.Context, m *mirrorStore) error {
	if _, err := bucketOf(m.at); err != nil {
		return err
	}
	if _, ok := m.Store.(versionLister); !ok || !keepsVersions(ctx, m.Store) {
		return wrongCall("--batch-manifest is for buckets that keep versions: others delete later, without a look, and %s could not give anything back", m.url)
	}
	return nil
}

type versionLister interface {
	Versions(ctx context.Context, prefix string) iter.Seq2[buildcache.Version, error]
}

// handOver writes what another process shall delete, by version IDs: what is
// pushed later is none of them. The first step must be done before the second
// one begins: then no spec file names a tarball that is gone.
func (r janitorRun) handOver(ctx context.Context, m *mirrorStore, step int, keys []string) error {
	in, err := bucketOf(m.at)
	if err != nil {
		return err
	}
	targets, err := versionsOf(ctx, m.Store.(versionLister), keys)
	if err != nil {
		return err
	}
	file := r.batchFile(step)
	if err := inventory.WriteBatch(file, in, slices.Values(targets)); err != nil {
		return err
	}
	r.Log.Info("to be deleted by S3 Batch Operations", "step", step, "objects", len(targets), "manifest", file)
	return nil
}

// versionsOf returns the latest versions of some keys.
func versionsOf(ctx context.Context, store versionLister, keys []string) ([]inventory.Target, error) {
	wanted, folders := map[string]bool{}, map[string]bool{}
	for _, key := range keys {
		folder, _, _ := strings.Cut(key, "/")
		wanted[key], folders[folder+"/"] = true, true
	}
	var targets []inventory.Target
	for _, folder := range sortedKeys(folders) {
		for v, err := range store.Versions(ctx, folder) {
			if err != nil {
				return nil, fmt.Errorf("versions below %s: %w", folder, err)
			}
			if wanted[v.Key] && v.Latest && !v.Deleted {
				targets = append(targets, inventory.Target{Key: v.Key, Version: v.ID})
			}
		}
	}
	return targets, nil
}
