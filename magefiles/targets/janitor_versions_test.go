package targets

import (
	"bytes"
	"context"
	"encoding/csv"
	"io"
	"iter"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/inventory"
	"github.com/openbraininstitute/spacktainers/internal/testing/faultproxy"
	"github.com/openbraininstitute/spacktainers/internal/testing/s3test"
	"github.com/openbraininstitute/spacktainers/internal/ui"
	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
)

// Spec files that were pushed several times have older versions, which must not come to light when
// the latest ones are deleted by their IDs. With a lone blob there are three steps.
func TestABatchLeavesNothingOfWhatGoes(t *testing.T) {
	for _, server := range s3test.All(t) {
		t.Run(server.Name, func(t *testing.T) {
			useServer(t, server.Endpoint, server)
			root, bucket, _ := oldV3(t, server)
			a, m, url, locks := openOld(t, root, bucket)
			lone := "blobs/sha256/aa/" + strings.Repeat("aa", 32)
			if err := server.PutAt(t.Context(), bucket, "mirror/"+lone, []byte("lone"), time.Now().Add(-100*24*time.Hour)); err != nil {
				t.Fatal(err)
			}
			server.EnableVersioning(t, bucket)
			for _, key := range keysOf(t.Context(), t, m) {
				if !strings.HasPrefix(key, "v3/manifests/spec/") {
					continue
				}
				text, _, err := buildcache.ReadAll(t.Context(), m, key)
				if err != nil {
					t.Fatal(err)
				}
				if err := server.PutAt(t.Context(), bucket, "mirror/"+key, text, time.Now().Add(-50*24*time.Hour)); err != nil {
					t.Fatal(err)
				}
			}
			if err := pruneNow(t, a, janitorRun{batch: "delete.csv"}, url, locks); err != nil {
				t.Fatal(err)
			}
			var gone []string
			for _, file := range []string{"delete.csv", "delete-2.csv", "delete-3.csv"} {
				gone = append(gone, deleteVersions(t, m, file)...)
			}
			if len(gone) == 0 || gone[0] != lone {
				t.Errorf("the first of %d objects is not %s", len(gone), lone)
			}
			for _, key := range gone {
				if there, err := buildcache.Exists(t.Context(), m, key); err != nil || there {
					t.Errorf("%s is there, %v", key, err)
				}
			}
			before := len(keysOf(t.Context(), t, m))
			if err := pruneNow(t, a, janitorRun{batch: "delete.csv"}, url, locks); err != nil {
				t.Fatal(err)
			}
			if n := len(keysOf(t.Context(), t, m)); n != before {
				t.Errorf("%d objects, then %d", before, n)
			}
			if _, err := os.Stat("delete-3.csv"); err == nil {
				t.Error("the third step of another run is there still")
			}
		})
	}
}

// deleteVersions does what a manifest says.
func deleteVersions(t *testing.T, m *mirrorStore, file string) (keys []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var versions []buildcache.Version
	for _, row := range rows {
		key := strings.TrimPrefix(row[1], "mirror/")
		keys = append(keys, key)
		versions = append(versions, buildcache.Version{Object: buildcache.Object{Key: key}, ID: row[2]})
	}
	store := m.Store.(interface {
		DeleteVersions(ctx context.Context, versions []buildcache.Version) error
	})
	if err := store.DeleteVersions(t.Context(), versions); err != nil {
		t.Fatal(err)
	}
	return keys
}

// Where it cannot be asked whether the bucket keeps versions, or which, no index is changed.
func TestABatchNeedsToKnowTheVersions(t *testing.T) {
	server := s3test.MinIO(t)
	for _, query := range []string{"versioning", "versions"} {
		t.Run(query, func(t *testing.T) {
			proxy := faultproxy.New(t, server.Endpoint)
			proxy.Add(faultproxy.Rule{Match: func(r faultproxy.Request) bool { return r.Query.Has(query) }, Fault: faultproxy.Fail(http.StatusForbidden, "AccessDenied")})
			useServer(t, proxy.URL, server)
			root, bucket, _ := oldV3(t, server)
			if query == "versions" {
				server.EnableVersioning(t, bucket)
			}
			a, m, url, locks := openOld(t, root, bucket)
			before := keysOf(t.Context(), t, m)
			err := pruneNow(t, a, janitorRun{batch: "delete.csv"}, url, locks)
			if err == nil || !strings.Contains(err.Error(), "need s3:") {
				t.Errorf("got %v", err)
			}
			if after := keysOf(t.Context(), t, m); len(after) != len(before) { // the blob of another index
				t.Errorf("%d objects, then %d", len(before), len(after))
			}
			if _, err := os.Stat("delete.csv"); err == nil {
				t.Error("a manifest was written")
			}
		})
	}
}

func TestABatchIsOfOneMirror(t *testing.T) {
	run := janitorRun{app: &app{}, batch: "delete.csv"}
	two, one := "s3://a/x,s3://b/x", "s3://a/x,s3://a/x/"
	if err := run.oneBatch(&two); err == nil || !strings.Contains(err.Error(), "is for one mirror, and these are 2") {
		t.Errorf("got %v", err)
	}
	if err := run.oneBatch(&one); err != nil {
		t.Error(err)
	}
	run.batch = ""
	if err := run.oneBatch(&two); err != nil {
		t.Error(err)
	}
}

// kept is what a bucket has of all its keys.
type kept []buildcache.Version

func (kept) Versioning(context.Context) (bool, error)   { return true, nil }
func (kept) KeptVersions(context.Context) (bool, error) { return true, nil }
func (k kept) Versions(_ context.Context, prefix string) iter.Seq2[buildcache.Version, error] {
	return func(yield func(buildcache.Version, error) bool) {
		for _, v := range k {
			if strings.HasPrefix(v.Key, prefix) && !yield(v, nil) {
				return
			}
		}
	}
}

// What was written again since it was looked at is handed over in none of its versions.
func TestABatchIsOfWhatWasLookedAt(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	object := func(name string) buildcache.Object {
		return buildcache.Object{Key: "v3/" + name, Size: 1, ETag: "e", ModTime: at}
	}
	version := func(name, id string, edit func(*buildcache.Version)) buildcache.Version {
		v := buildcache.Version{Object: object(name), ID: id, Latest: true}
		edit(&v)
		return v
	}
	older := func(v *buildcache.Version) { v.Latest, v.ETag = false, "old" }
	store := kept{
		version("bytes", "2", func(v *buildcache.Version) { v.ETag = "new" }), version("bytes", "1", older),
		version("deleted", "2", func(v *buildcache.Version) { v.Deleted = true }), version("deleted", "1", older),
		version("other", "1", func(*buildcache.Version) {}),
		version("same", "3", func(v *buildcache.Version) { v.ModTime = at.Add(300 * time.Millisecond) }),
		version("same", "2", func(v *buildcache.Version) { v.Deleted, v.Latest = true, false }), version("same", "1", older),
		version("time", "2", func(v *buildcache.Version) { v.ModTime = at.Add(time.Hour) }), version("time", "1", older),
	}
	var objects []buildcache.Object
	for _, name := range []string{"bytes", "deleted", "gone", "same", "time"} {
		objects = append(objects, object(name))
	}
	targets, again, err := versionsOf(t.Context(), store, objects)
	want := []inventory.Target{{Key: "v3/same", Version: "3"}, {Key: "v3/same", Version: "1"}}
	if err != nil || !slices.Equal(targets, want) || !slices.Equal(again, []string{"v3/bytes", "v3/time"}) {
		t.Errorf("got %v, written again %v, %v", targets, again, err)
	}
}

// A spec that is pushed again while its versions are listed needs others that would go, and blobs.
func TestABatchEndsWhereASpecIsPushedAgain(t *testing.T) {
	server := s3test.MinIO(t)
	proxy := faultproxy.New(t, server.Endpoint)
	useServer(t, proxy.URL, server)
	root, bucket, _ := oldV3(t, server)
	server.EnableVersioning(t, bucket)
	a, _, url, locks := openOld(t, root, bucket)
	const key = "v3/manifests/spec/hello-spack/hello-spack-1.1-tg7fcw2k2donquj6oubqz3j3q66inupa.spec.manifest.json"
	text, err := os.ReadFile(filepath.Join(root, "cache", key))
	if err != nil {
		t.Fatal(err)
	}
	push := faultproxy.Around(func() {
		if err := server.PutAt(t.Context(), bucket, "mirror/"+key, text, time.Now()); err != nil {
			t.Error(err)
		}
	}, nil)
	listsSpecs := func(r faultproxy.Request) bool {
		return r.Query.Has("versions") && r.Query.Get("prefix") == "mirror/v3/"
	}
	proxy.Add(faultproxy.Rule{Match: listsSpecs, Fault: push})
	err = pruneNow(t, a, janitorRun{batch: "delete.csv"}, url, locks)
	if err == nil || !strings.Contains(err.Error(), key+" was pushed again") {
		t.Errorf("got %v", err)
	}
	if left, _ := filepath.Glob("*.csv"); len(left) > 0 {
		t.Errorf("handed over: %v", left)
	}
}

// Where a bucket keeps versions, or did so, a purge says that they stay.
func TestAPurgeSaysThatVersionsStay(t *testing.T) {
	for _, server := range s3test.All(t) {
		for _, state := range []string{"none", "kept", "suspended", "unknown"} {
			t.Run(server.Name+"/"+state, func(t *testing.T) {
				proxy := faultproxy.New(t, server.Endpoint)
				useServer(t, proxy.URL, server)
				_, bucket, _ := oldV3(t, server)
				if state == "kept" || state == "suspended" {
					server.EnableVersioning(t, bucket)
				}
				if state == "suspended" {
					server.SuspendVersioning(t, bucket)
				}
				if state == "unknown" {
					proxy.Add(faultproxy.Rule{Match: func(r faultproxy.Request) bool { return r.Query.Has("versioning") }, Fault: faultproxy.Fail(http.StatusForbidden, "AccessDenied")})
				}
				t.Chdir(t.TempDir())
				a, err := start()
				if err != nil {
					t.Fatal(err)
				}
				var said bytes.Buffer
				a.UI = ui.New(io.Discard, &said, ui.CI(""), ui.Style{Plain: true})
				run := janitorRun{app: a, yes: true, settle: -1, roots: func(context.Context) (rootset.Roots, error) { return rootset.Roots{}, nil }}
				url := "s3://" + bucket + "/mirror"
				err = run.each(t.Context(), &url, func(m *mirrorStore) error {
					return run.purge(t.Context(), m, janitor.Purge{Pin: "compiler-wrapper", Dependents: true})
				})
				if err != nil {
					t.Fatal(err)
				}
				if stays := strings.Contains(said.String(), "stays readable by its version"); stays != (state != "none") {
					t.Errorf("it says:\n%s", &said)
				}
				if unknown := strings.Contains(said.String(), "it is not known whether"); unknown != (state == "unknown") {
					t.Errorf("it says:\n%s", &said)
				}
			})
		}
	}
}
