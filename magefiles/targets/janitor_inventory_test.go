package targets

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/testing/s3test"
	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
)

// A bucket that is condemned by its inventory, and emptied by another process:
// the index goes first, nothing is deleted, and two manifests say which versions
// are to be.
func TestPruneByInventoryForBatchOperations(t *testing.T) {
	server := s3test.MinIO(t)
	useServer(t, server.Endpoint, server)
	root, bucket, objects := oldV3(t, server)
	deliveries := server.NewBucket(t)
	manifest := server.Inventory(t, bucket, deliveries, false, time.Now().Add(-time.Hour))
	a, _, url, locks := openOld(t, root, bucket)
	prune := func(r janitorRun) error { return pruneNow(t, a, r, url, locks) }
	if err := os.MkdirAll("out", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := prune(janitorRun{batch: "out/delete.csv"}); err == nil || !strings.Contains(err.Error(), "buckets that keep versions") {
		t.Errorf("a bucket without versions: %v", err)
	}
	server.EnableVersioning(t, bucket)
	if err := prune(janitorRun{inventory: "s3://" + deliveries + "/" + manifest, batch: "out/delete.csv"}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("out/delete.csv"); err == nil {
		t.Error("an inventory does more than to condemn")
	}
	if err := prune(janitorRun{batch: "out/delete.csv"}); err != nil {
		t.Fatal(err)
	}
	first, second := lines(t, "out/delete.csv"), lines(t, "out/delete-2.csv")
	for _, line := range first {
		if !strings.HasPrefix(line, bucket+",mirror/v3/manifests/spec/") || strings.Count(line, ",") != 2 {
			t.Errorf("in the first step: %s", line)
		}
	}
	for _, line := range second {
		if !strings.HasPrefix(line, bucket+",mirror/blobs/sha256/") {
			t.Errorf("in the second step: %s", line)
		}
	}
	if len(first) == 0 || len(second) < 2*len(first) {
		t.Errorf("%d and then %d objects", len(first), len(second))
	}
	if n := count(t, a, url); n < objects {
		t.Errorf("%d objects of %d are left", n, objects)
	}
	if err := os.WriteFile("out/delete-2.csv", []byte("of another day"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := prune(janitorRun{batch: "out/delete.csv"}); err != nil {
		t.Fatal(err)
	}
	if again := lines(t, "out/delete-2.csv"); len(again) < 2 {
		t.Errorf("what another run has handed over is there still: %v", again)
	}
	if err := prune(janitorRun{batch: "nowhere/delete.csv"}); err == nil || !strings.Contains(err.Error(), "no folder nowhere: make it first") {
		t.Errorf("a folder that is not there: %v", err)
	}
	if err := prune(janitorRun{inventory: "s3://" + deliveries + "/nothing/manifest.json", dry: true}); err == nil || !strings.Contains(err.Error(), "inventory nothing/manifest.json: ") {
		t.Errorf("no inventory: %v", err)
	}
	if err := prune(janitorRun{inventory: "s3://" + deliveries, dry: true}); err == nil || !strings.Contains(err.Error(), "want the manifest of an inventory") {
		t.Errorf("no manifest: %v", err)
	}
	url = t.TempDir()
	if err := prune(janitorRun{inventory: "x/manifest.json"}); err == nil || !strings.Contains(err.Error(), "are for buckets") {
		t.Errorf("a folder: %v", err)
	}
}

// useServer has the targets of this test use a server, and nothing of the user's own.
func useServer(t *testing.T, endpoint string, server *s3test.Server) {
	t.Helper()
	for name, value := range map[string]string{
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": server.AccessKey, "AWS_SECRET_ACCESS_KEY": server.SecretKey,
	} {
		t.Setenv(name, value)
	}
}

// oldV3 puts a build cache of 100 days ago into a bucket, below mirror/.
func oldV3(t *testing.T, server *s3test.Server) (root, bucket string, objects int) {
	t.Helper()
	root, err := filepath.Abs("../../testdata/spack/v3-unsigned")
	if err != nil {
		t.Fatal(err)
	}
	bucket = server.NewBucket(t)
	cache := os.DirFS(filepath.Join(root, "cache"))
	err = fs.WalkDir(cache, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := fs.ReadFile(cache, path)
		if err != nil {
			return err
		}
		objects++
		return server.PutAt(t.Context(), bucket, "mirror/"+path, body, time.Now().Add(-100*24*time.Hour))
	})
	if err != nil {
		t.Fatal(err)
	}
	return root, bucket, objects
}

// openOld opens what oldV3 has made, from an empty folder, with the lockfile of one of its environments.
func openOld(t *testing.T, root, bucket string) (a *app, m *mirrorStore, url string, locks []rootset.Lock) {
	t.Helper()
	locks, err := readLocks([]string{lockOf(t, root, "env-b")})
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if a, err = start(); err != nil {
		t.Fatal(err)
	}
	url = "s3://" + bucket + "/mirror"
	if m, err = a.openMirror(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	return a, m, url, locks
}

// pruneNow condemns and deletes in one run.
func pruneNow(t *testing.T, a *app, r janitorRun, url string, locks []rootset.Lock) error {
	t.Helper()
	zero, all, yes := "0", 1.0, true
	r.app, r.yes, r.settle = a, true, -1
	r.rules = ruleFlags{wait: &zero, maxAge: &zero, maxFraction: &all, evenIfWritten: &yes, keepLast: new(int)}
	r.roots = func(context.Context) (rootset.Roots, error) { return rootset.Roots{Locks: locks}, nil }
	return r.each(t.Context(), &url, func(m *mirrorStore) error { return r.prune(t.Context(), m) })
}

func lockOf(t *testing.T, root, name string) (path string) {
	t.Helper()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(p, ".lock") && strings.Contains(p, name) {
			path = p
		}
		return err
	})
	if err != nil || path == "" {
		t.Fatalf("no lockfile of %s: %v", name, err)
	}
	return path
}

func lines(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

func count(t *testing.T, a *app, url string) (n int) {
	t.Helper()
	store, _, err := a.openStore(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return len(keysOf(t.Context(), t, store))
}

func keysOf(ctx context.Context, t *testing.T, store buildcache.Store) (keys []string) {
	t.Helper()
	for o, err := range store.List(ctx, "") {
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(o.Key, janitor.Prefix) {
			keys = append(keys, o.Key)
		}
	}
	return keys
}
