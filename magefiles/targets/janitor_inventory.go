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
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/inventory"
	"github.com/openbraininstitute/spacktainers/janitor"
)

// openInventory opens the S3 Inventory of the bucket that a mirror is in.
// Where S3 has delivered it, keys in its manifest are relative to that bucket;
// a copy in a folder lies as it does there, or all files beside the manifest.
func (r janitorRun) openInventory(ctx context.Context, mirror buildcache.Location) (*inventory.Inventory, error) {
	in, err := bucketOf(mirror)
	if err != nil {
		return nil, err
	}
	if !strings.HasSuffix(r.inventory, ".json") {
		return nil, wrongCall("--inventory=%s: want the manifest of an inventory, such as s3://BUCKET/PREFIX/OUR-BUCKET/ID/DATE/manifest.json", r.inventory)
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
// changed. What an earlier run has handed over goes: a later step of then must
// not be taken for one of now.
func (r janitorRun) readyToHandOver(mirror buildcache.Location) error {
	if _, err := bucketOf(mirror); err != nil {
		return err
	}
	if info, err := os.Stat(filepath.Dir(r.batch)); err != nil || !info.IsDir() {
		return wrongCall("--batch-manifest=%s: there is no folder %s: make it first", r.batch, filepath.Dir(r.batch))
	}
	for step := 1; step <= 3; step++ {
		if err := os.Remove(r.batchFile(step)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("batch manifest: %w", err)
		}
	}
	return nil
}

// oneBatch refuses to hand over of several mirrors: the files are of one.
func (r janitorRun) oneBatch(mirrors *string) error {
	if r.batch == "" {
		return nil
	}
	urls, err := r.mirrors(mirrors)
	if err == nil && len(urls) > 1 {
		err = wrongCall("--batch-manifest=%s is for one mirror, and these are %d: give one after the other, with --mirror and a file of its own", r.batch, len(urls))
	}
	return err
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
	store, ok := m.Store.(versionLister)
	keeps := false
	if ok {
		var err error
		if keeps, err = store.Versioning(ctx); err != nil {
			return err
		}
	}
	if !keeps {
		return wrongCall("--batch-manifest is for buckets that keep versions: others delete later, without a look, and what is pushed to %s meanwhile could not be told from what goes", m.url)
	}
	for _, err := range store.Versions(ctx, janitor.Prefix) { // before an index is changed
		return err
	}
	return nil
}

// A versionLister is a store that may keep versions.
type versionLister interface {
	Versioning(ctx context.Context) (bool, error)
	KeptVersions(ctx context.Context) (bool, error)
	Versions(ctx context.Context, prefix string) iter.Seq2[buildcache.Version, error]
}

// handOver writes what another process shall delete, by version IDs: what is
// pushed later is none of them. Each step must be done before the next one
// begins: then no spec file names a tarball that is gone.
func (r janitorRun) handOver(ctx context.Context, m *mirrorStore, step int, objects []buildcache.Object) error {
	in, err := bucketOf(m.at)
	if err != nil {
		return err
	}
	targets, again, err := versionsOf(ctx, m.Store.(versionLister), objects)
	if err != nil {
		return err
	}
	for _, key := range again {
		if kind := buildcache.KindOf(key); kind == buildcache.SpecFile || kind == buildcache.SpecManifest {
			return fmt.Errorf("%s was pushed again since the mirror was looked at, and needs what would go: this step is not handed over, nor any behind it: run again", key)
		}
	}
	if len(again) > 0 {
		r.Log.Warn("some objects were written again meanwhile, and are left out", "objects", len(again), "first", again[0])
	}
	file := r.batchFile(step)
	if err := inventory.WriteBatch(file, in, slices.Values(targets)); err != nil {
		return err
	}
	r.Log.Info("to be deleted by S3 Batch Operations", "step", step, "objects", len(targets), "manifest", file)
	return nil
}

// versionsOf returns the versions of objects that are still as they were looked
// at, and the keys of those that were written again. The older versions go, too:
// one would come to light where the latest is deleted by its ID.
func versionsOf(ctx context.Context, store versionLister, objects []buildcache.Object) (targets []inventory.Target, again []string, err error) {
	wanted, folders := map[string]buildcache.Object{}, map[string]bool{}
	for _, o := range objects {
		folder, _, _ := strings.Cut(o.Key, "/")
		wanted[o.Key], folders[folder+"/"] = o, true
	}
	same, versions := map[string]bool{}, map[string][]string{} // there is no same for what is gone
	for _, folder := range sortedKeys(folders) {
		for v, err := range store.Versions(ctx, folder) {
			if err != nil {
				return nil, nil, fmt.Errorf("versions below %s: %w", folder, err)
			}
			o, ok := wanted[v.Key]
			if !ok || v.Deleted {
				continue
			}
			versions[o.Key] = append(versions[o.Key], v.ID)
			if v.Latest {
				same[o.Key] = v.ETag == o.ETag && v.Size == o.Size && v.ModTime.Truncate(time.Second).Equal(o.ModTime.Truncate(time.Second))
			}
		}
	}
	for _, o := range objects {
		if is, there := same[o.Key]; !is {
			if there {
				again = append(again, o.Key)
			}
			continue
		}
		for _, id := range versions[o.Key] {
			targets = append(targets, inventory.Target{Key: o.Key, Version: id})
		}
	}
	return targets, again, nil
}
