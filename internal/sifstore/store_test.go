package sifstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/file"
	"github.com/openbraininstitute/spacktainers/buildcache/s3"
	"github.com/openbraininstitute/spacktainers/internal/sif"
	"github.com/openbraininstitute/spacktainers/internal/testing/faultproxy"
	"github.com/openbraininstitute/spacktainers/internal/testing/s3test"
)

// TestMain keeps the user's own configuration out.
func TestMain(m *testing.M) {
	for name, value := range map[string]string{
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_PROFILE": "", "AWS_ENDPOINT_URL": "", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_REGION": "",
	} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// stores runs a test with a folder and with a bucket behind a proxy, which is
// nil for the folder.
func stores(t *testing.T, test func(t *testing.T, store Store, proxy *faultproxy.Proxy)) {
	t.Run("folder", func(t *testing.T) { test(t, file.New(t.TempDir()), nil) })
	t.Run("minio", func(t *testing.T) {
		store, proxy := bucket(t)
		test(t, store, proxy)
	})
}

func bucket(t *testing.T) (*s3.Store, *faultproxy.Proxy) {
	t.Helper()
	server := s3test.MinIO(t)
	proxy := faultproxy.New(t, server.Endpoint)
	store, err := s3.Open(t.Context(), "s3://"+server.NewBucket(t)+"/containers", s3.Options{
		Endpoint: proxy.URL, Region: "us-east-1", PathStyle: true, Credentials: s3.Keys(server.AccessKey, server.SecretKey, ""),
		MaxAttempts: 2, MaxBackoff: 10 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	return store, proxy
}

func timeOf(at time.Time) func() time.Time { return func() time.Time { return at } }

var today = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fake writes a file that passes for a SIF, with its record.
func fake(t testing.TB, f sif.Folder, container, version, branch, arch string, content []byte) sif.Record {
	t.Helper()
	name, err := sif.NewName(container, version, branch, arch)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	r := sif.Record{File: name.String(), Name: container, Version: version, Branch: branch, Platform: "linux/" + arch, Kind: "environment",
		Digest: "sha256:" + hex.EncodeToString(sum[:]), BuildKey: "key-" + hex.EncodeToString(sum[:4]), Lock: "lock", Compression: sif.Zstd, Engine: "test"}
	r, err = f.Create(r, func(path string) error { return os.WriteFile(path, content, 0o644) })
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func upload(t testing.TB, store Store, f sif.Folder, r sif.Record, at time.Time) string {
	t.Helper()
	u := Uploader{From: f, To: store, Now: func() time.Time { return at }}
	plan, err := u.Plan(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Apply(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	return plan.State
}

func manifest(t *testing.T, store Store, container string) *Manifest {
	t.Helper()
	m, _, err := readManifest(t.Context(), store, Keys{}, container)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func keys(t *testing.T, store Store) (keys []string) {
	t.Helper()
	for o, err := range store.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	return keys
}

func TestWhatIsUploadedIsInstalled(t *testing.T) {
	stores(t, func(t *testing.T, store Store, _ *faultproxy.Proxy) {
		f := sif.Folder(t.TempDir())
		one := fake(t, f, "tool", "1.0", "", "amd64", []byte("one"))
		arm := fake(t, f, "tool", "1.0", "", "arm64", []byte("one for arm"))
		other := fake(t, f, "other-tool", "2.0", "feature/x", "amd64", []byte("other"))
		for _, r := range []sif.Record{one, arm, other} {
			if state := upload(t, store, f, r, today); state != StateNew {
				t.Errorf("%s is %s", r.File, state)
			}
			if state := upload(t, store, f, r, today.Add(time.Hour)); state != StateSame {
				t.Errorf("again, %s is %s", r.File, state)
			}
		}
		m := manifest(t, store, "tool")
		if got := m.Newest["linux/amd64"]; got != (Latest{one.File, "1.0", one.Digest, one.SHA256}) || m.Newest["linux/arm64"].SHA256 != arm.SHA256 {
			t.Errorf("newest: %+v", m.Newest)
		}
		if m := manifest(t, store, "other-tool"); len(m.Newest) != 0 {
			t.Errorf("a branch's SIF is called the newest: %+v", m.Newest)
		}

		dir := filepath.Join(t.TempDir(), "new")
		in := Installer{From: store, Dir: dir, Modules: ModulesLmod}
		install(t, in, map[string]string{"other-tool__2.0__feature-x.sif": StateNew, "tool__1.0-arm64.sif": StateNew, "tool__1.0.sif": StateNew})
		for name, want := range map[string]string{"tool.sif": "one", "tool-arm64.sif": "one for arm", "other-tool__2.0__feature-x.sif": "other"} {
			if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
				t.Errorf("%s holds %q, %v", name, got, err)
			}
		}
		module, err := os.ReadFile(filepath.Join(dir, "modules", "tool", "1.0.lua"))
		if err != nil || !strings.Contains(string(module), `setenv("TOOL_SIF", "`+dir+`/tool__1.0.sif")`) {
			t.Errorf("module: %s, %v", module, err)
		}
		install(t, in, map[string]string{"other-tool__2.0__feature-x.sif": StateSame, "tool__1.0-arm64.sif": StateSame, "tool__1.0.sif": StateSame})

		two := fake(t, f, "tool", "1.1", "", "amd64", []byte("two"))
		upload(t, store, f, two, today.Add(24*time.Hour))
		in.Names, in.Platforms, in.Newest = []string{"tool"}, []string{"linux/amd64"}, true
		install(t, in, map[string]string{"tool__1.1.sif": StateNew})
		if got, _ := os.ReadFile(filepath.Join(dir, "tool.sif")); string(got) != "two" {
			t.Errorf("tool.sif leads to %q", got)
		}
		if state := upload(t, store, f, one, today.Add(48*time.Hour)); state != StateNewest || manifest(t, store, "tool").Newest["linux/amd64"].File != one.File {
			t.Errorf("who goes back to %s finds it %s", one.File, state)
		}
		in.Names = []string{"tol"}
		if _, err := in.Plan(t.Context()); err == nil || !strings.Contains(err.Error(), `"tool"`) {
			t.Errorf("an unknown name: %v", err)
		}
	})
}

func install(t *testing.T, in Installer, want map[string]string) {
	t.Helper()
	plan, err := in.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range plan.Files {
		got[f.File] = f.State
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("plan: %s", diff)
	}
	if err := in.Apply(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
}

// A SIF of a definition file that starts from no image of a registry has no digest to compare: only
// the same bytes are the same.
func TestASIFWithoutADigest(t *testing.T) {
	store, f := file.New(t.TempDir()), sif.Folder(t.TempDir())
	unpinned := func(content string) sif.Record {
		r := fake(t, f, "tool", "latest", "", "amd64", []byte(content))
		r.Kind, r.Digest, r.BuildKey = sif.KindDefinitionFile, "", "key"
		return r
	}
	one := unpinned("one")
	for _, want := range []string{StateNew, StateSame} {
		if state := upload(t, store, f, one, today); state != want {
			t.Errorf("it is %s, want %s", state, want)
		}
	}
	if state := upload(t, store, f, unpinned("two"), today); state != StateChanged {
		t.Errorf("other bytes are %s", state)
	}
	install(t, Installer{From: store, Dir: t.TempDir(), Modules: ModulesLmod}, map[string]string{"tool__latest.sif": StateNew})
}

func TestABucketKeepsMetadata(t *testing.T) {
	store, _ := bucket(t)
	f := sif.Folder(t.TempDir())
	for _, content := range [][]byte{[]byte("small"), bytes.Repeat([]byte("large"), 15<<20)} { // in one request, and in parts
		r := fake(t, f, "tool", "1.0", "", "amd64", content)
		upload(t, store, f, r, today)
		got, err := store.Metadata(t.Context(), r.File)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"container-checksum": r.BuildKey, "build-key": r.BuildKey, "spack-lock-sha256": "lock", "digest": r.Digest, "sha256": r.SHA256, "platform": "linux/amd64"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

// Regression 10: a new SIF is verified before any old one goes.
func TestNewSIFIsVerifiedBeforeTheOldOneGoes(t *testing.T) {
	store, proxy := bucket(t)
	f := sif.Folder(t.TempDir())
	old := fake(t, f, "tool", "1.0", "", "amd64", []byte("the old one"))
	upload(t, store, f, old, today)
	changed := fake(t, f, "tool", "1.0", "", "amd64", []byte("the new one"))
	u := Uploader{From: f, To: store, Now: func() time.Time { return today }}
	plan, err := u.Plan(t.Context(), changed)
	if err != nil || plan.State != StateChanged {
		t.Fatal(plan.State, err)
	}
	isIncoming := func(r faultproxy.Request) bool {
		return r.Method == http.MethodGet && strings.Contains(r.Path, "/incoming/")
	}
	proxy.Add(faultproxy.Rule{Match: isIncoming, Fault: faultproxy.Rewrite(func([]byte) []byte { return []byte("the bad one") })})
	err = u.Apply(t.Context(), plan)
	if err == nil || !strings.Contains(err.Error(), "another sha256") || !strings.Contains(err.Error(), "untouched") {
		t.Errorf("got %v", err)
	}
	holds(t, store, old.File, "the old one")
	if got := manifest(t, store, "tool").Newest["linux/amd64"].SHA256; got != old.SHA256 {
		t.Error("the manifest names what was not verified")
	}

	proxy.Reset()
	if err := u.Apply(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	holds(t, store, old.File, "the new one")
	if got := keys(t, store); !slices.Equal(got, []string{"tool.json", "tool__1.0.sif"}) {
		t.Errorf("left over: %q", got)
	}
	verified := slices.IndexFunc(proxy.Requests(), isIncoming)
	touched := slices.IndexFunc(proxy.Requests(), func(r faultproxy.Request) bool {
		return r.Method != http.MethodGet && strings.HasSuffix(r.Path, "/containers/tool__1.0.sif")
	})
	if verified < 0 || touched < verified {
		t.Errorf("verified with request %d, touched the old one with %d", verified, touched)
	}
}

func holds(t *testing.T, store Store, key, want string) {
	t.Helper()
	body, _, err := store.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	var got bytes.Buffer
	if _, err := got.ReadFrom(body); err != nil || got.String() != want {
		t.Errorf("%s holds %q, %v; want %q", key, got.String(), err, want)
	}
}

func TestAnInterruptedUploadLeavesNothingButTheOldFile(t *testing.T) {
	server := s3test.MinIO(t)
	proxy := faultproxy.New(t, server.Endpoint)
	name := server.NewBucket(t)
	store, err := s3.Open(t.Context(), "s3://"+name, s3.Options{Endpoint: proxy.URL, Region: "us-east-1", PathStyle: true, Credentials: s3.Keys(server.AccessKey, server.SecretKey, ""), MaxAttempts: 2, MaxBackoff: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	f := sif.Folder(t.TempDir())
	r := fake(t, f, "tool", "1.0", "", "amd64", bytes.Repeat([]byte("sif!"), 20<<20)) // in parts
	ctx, cancel := context.WithCancel(t.Context())
	var sent int64
	u := Uploader{From: f, To: store, Now: time.Now, Progress: func(sif.Record) func(int64) {
		return func(total int64) {
			sent = total
			if total > r.Size/2 {
				cancel()
			}
		}
	}}
	plan, err := u.Plan(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Apply(ctx, plan); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if n := server.Uploads(t, name, r.File); n > 0 {
		t.Errorf("%d uploads are left in the bucket", n)
	}
	if got := keys(t, store); len(got) > 0 {
		t.Errorf("left over: %q", got)
	}
	if err := u.Apply(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	if sent != r.Size {
		t.Errorf("progress ended at %d of %d", sent, r.Size)
	}
	if state := upload(t, store, f, r, today); state != StateSame {
		t.Errorf("afterwards it is %s", state)
	}
}

func TestAnInterruptedInstallGoesOnWhereItWas(t *testing.T) {
	stores(t, func(t *testing.T, store Store, proxy *faultproxy.Proxy) {
		f := sif.Folder(t.TempDir())
		r := fake(t, f, "tool", "1.0", "", "amd64", bytes.Repeat([]byte("sif!"), 1<<20))
		upload(t, store, f, r, today)
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		in := Installer{From: store, Dir: dir, Progress: func(sif.Record) func(int64) {
			return func(total int64) {
				if total > r.Size/2 {
					cancel()
				}
			}
		}}
		plan, err := in.Plan(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := in.Apply(ctx, plan); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if _, err := os.Stat(filepath.Join(dir, r.File)); !errors.Is(err, fs.ErrNotExist) {
			t.Error("half a file has the name of a whole one")
		}
		first := int64(-1)
		in.Progress = func(sif.Record) func(int64) {
			return func(total int64) {
				if first < 0 {
					first = total
				}
			}
		}
		if err := in.Apply(t.Context(), plan); err != nil {
			t.Fatal(err)
		}
		if first <= r.Size/2 {
			t.Errorf("it began anew: %d bytes", first)
		}
		text, err := os.ReadFile(filepath.Join(dir, r.File))
		if sum := sha256.Sum256(text); err != nil || hex.EncodeToString(sum[:]) != r.SHA256 {
			t.Errorf("%x, %v", sum, err)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, ".*"+sif.PartExt)); len(left) > 0 {
			t.Errorf("left over: %q", left)
		}
	})
}

func TestADamagedDownloadIsNotInstalled(t *testing.T) {
	store, proxy := bucket(t)
	f := sif.Folder(t.TempDir())
	dir := t.TempDir()
	in := Installer{From: store, Dir: dir}
	upload(t, store, f, fake(t, f, "tool", "1.0", "", "amd64", []byte("the old one")), today)
	install(t, in, map[string]string{"tool__1.0.sif": StateNew})
	inUse, err := os.Open(filepath.Join(dir, "tool__1.0.sif"))
	if err != nil {
		t.Fatal(err)
	}
	defer inUse.Close()

	upload(t, store, f, fake(t, f, "tool", "1.0", "", "amd64", []byte("the new one")), today)
	proxy.Add(faultproxy.Rule{Times: 1, Match: func(r faultproxy.Request) bool { return strings.HasSuffix(r.Path, sif.Ext) }, Fault: faultproxy.Rewrite(func([]byte) []byte { return []byte("the bad one") })})
	plan, err := in.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Apply(t.Context(), plan); err == nil || !strings.Contains(err.Error(), "damaged on the way") {
		t.Errorf("got %v", err)
	}
	if got, _ := os.ReadFile(filepath.Join(dir, "tool__1.0.sif")); string(got) != "the old one" {
		t.Errorf("it holds %q", got)
	}
	install(t, in, map[string]string{"tool__1.0.sif": StateChanged})
	var read [11]byte
	if _, err := inUse.ReadAt(read[:], 0); err != nil || string(read[:]) != "the old one" {
		t.Errorf("who had it open now reads %q, %v", read, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tool__1.0.sif"), []byte("bit rot ..."), 0o644); err != nil {
		t.Fatal(err)
	}
	in.Rehash = true
	install(t, in, map[string]string{"tool__1.0.sif": StateChanged})
}

func TestManyUploadersShareAManifest(t *testing.T) {
	stores(t, func(t *testing.T, store Store, _ *faultproxy.Proxy) {
		f := sif.Folder(t.TempDir())
		var records []sif.Record
		for i := range 6 {
			records = append(records, fake(t, f, "tool", fmt.Sprintf("1.%d", i), "", "amd64", fmt.Append(nil, i)))
		}
		errs := make(chan error)
		for _, r := range records {
			go func() {
				u := Uploader{From: f, To: store, Now: time.Now}
				plan, err := u.Plan(t.Context(), r)
				if err == nil {
					err = u.Apply(t.Context(), plan)
				}
				errs <- err
			}()
		}
		for range records {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if got := len(manifest(t, store, "tool").Files); got != len(records) {
			t.Errorf("the manifest has %d of %d", got, len(records))
		}
	})
}

// Regression 9: a branch's SIF is known by its slug; releases and SIFs of
// definition files are never garbage of a branch.
func TestCleaning(t *testing.T) {
	stores(t, func(t *testing.T, store Store, _ *faultproxy.Proxy) {
		f := sif.Folder(t.TempDir())
		ago := func(days int) time.Time { return today.AddDate(0, 0, -days) }
		add := func(version, branch string, at time.Time) {
			upload(t, store, f, fake(t, f, "tool", version, branch, "amd64", []byte(version+branch)), at)
		}
		add("0.8", "", ago(60))
		add("0.9", "", ago(30))
		add("1.0", "", ago(5))
		add("1.1", "", ago(2))
		add("1.0", "feature/x", ago(90))
		add("0.9", "feature/x", ago(100))
		add("1.0", "gone/branch", ago(0))
		def := fake(t, f, "storage", "1.7.0", "", "amd64", []byte("def"))
		def.Kind = sif.KindDefinitionFile
		upload(t, store, f, def, ago(300))
		for _, key := range []string{"nexus-storage__latest__amd64.sif", "neither.sif", "notes.txt"} {
			if _, err := store.Put(t.Context(), key, strings.NewReader("x"), 1, buildcache.PutOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		r := Retention{Branches: []string{"main", "feature/x"}, KeepLast: 1, KeepFor: 7 * 24 * time.Hour, Now: today}
		plan, err := NewCleaning(t.Context(), store, Keys{}, r)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, line := range plan.Lines {
			verb := "keep: "
			if line.Remove {
				verb = "remove: "
			}
			got[line.File] = verb + line.Reason
		}
		want := map[string]string{
			"tool__1.1.sif":                    "keep: the newest release",
			"tool__1.0.sif":                    "keep: superseded by tool__1.1.sif 2 days ago, stays for 7 days",
			"tool__0.9.sif":                    "keep: superseded by tool__1.0.sif 5 days ago, stays for 7 days",
			"tool__0.8.sif":                    "remove: superseded by tool__0.9.sif 30 days ago",
			"tool__1.0__feature-x.sif":         "keep: the newest of branch feature-x",
			"tool__0.9__feature-x.sif":         "remove: superseded by tool__1.0__feature-x.sif 90 days ago",
			"tool__1.0__gone-branch.sif":       "remove: branch gone-branch is gone",
			"storage__1.7.0.sif":               "keep: the newest release",
			"nexus-storage__latest__amd64.sif": "keep: the newest release",
			"neither.sif":                      "keep: its name is none of ours",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		before := keys(t, store)
		add("0.8", "", ago(0)) // again, meanwhile: what is planned for the old one must not hit the new
		if err := plan.Apply(t.Context(), store); err != nil {
			t.Fatal(err)
		}
		after := keys(t, store)
		gone := slices.DeleteFunc(before, func(key string) bool { return slices.Contains(after, key) })
		if want := []string{"tool__0.9__feature-x.sif", "tool__1.0__gone-branch.sif"}; !slices.Equal(gone, want) {
			t.Errorf("gone: %q", gone)
		}
		for _, s := range manifest(t, store, "tool").Files {
			if !slices.Contains(after, s.File) {
				t.Errorf("the manifest names %s, which is gone", s.File)
			}
		}
	})
}

func TestCleaningRefuses(t *testing.T) {
	store := file.New(t.TempDir())
	f := sif.Folder(t.TempDir())
	for i, version := range []string{"1.0", "1.1"} {
		upload(t, store, f, fake(t, f, "tool", version, "", "amd64", []byte(version)), today.AddDate(0, 0, 20*i-60))
	}
	r := Retention{KeepLast: 1, Now: today}
	if _, err := NewCleaning(t.Context(), store, Keys{}, r); err == nil || !strings.Contains(err.Error(), "list of branches is empty") {
		t.Errorf("without branches: %v", err)
	}
	r.Branches = []string{"main"}
	if err := os.Truncate(filepath.Join(store.String(), "tool__1.1.sif"), 1); err != nil {
		t.Fatal(err)
	}
	if _, err := NewCleaning(t.Context(), store, Keys{}, r); err == nil || !strings.Contains(err.Error(), "tool__1.1.sif") {
		t.Errorf("while the newest is damaged: %v", err)
	}
	if err := os.WriteFile(filepath.Join(store.String(), "tool.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := NewCleaning(t.Context(), store, Keys{}, r); err == nil {
		t.Error("a damaged manifest is taken for none")
	}
}

// Somebody else's upload may be at work: only what is a day old goes.
func TestUploadsThatDidNotEndAreCleaned(t *testing.T) {
	store := file.New(t.TempDir()).ByModTime()
	f := sif.Folder(t.TempDir())
	upload(t, store, f, fake(t, f, "tool", "1.0", "", "amd64", []byte("x")), today)
	for _, key := range []string{"incoming/old", "incoming/young"} {
		if _, err := store.Put(t.Context(), key, strings.NewReader("x"), 1, buildcache.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	past := time.Now().Add(-2 * sif.PartAge)
	if err := os.Chtimes(filepath.Join(store.String(), "incoming", "old"), past, past); err != nil {
		t.Fatal(err)
	}
	plan, err := NewCleaning(t.Context(), store, Keys{}, Retention{Branches: []string{"main"}, KeepLast: 1, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Apply(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	if got := keys(t, store); !slices.Equal(got, []string{"incoming/young", "tool.json", "tool__1.0.sif"}) {
		t.Errorf("left: %q", got)
	}
}

// What sif:install leaves can be cleaned up in the same way.
func TestAnInstalledFolderIsCleaned(t *testing.T) {
	store := file.New(t.TempDir())
	f := sif.Folder(t.TempDir())
	for i, version := range []string{"1.0", "1.1"} {
		upload(t, store, f, fake(t, f, "tool", version, "", "amd64", []byte(version)), today.AddDate(0, 0, 20*i-60))
	}
	dir := t.TempDir()
	install(t, Installer{From: store, Dir: dir}, map[string]string{"tool__1.0.sif": StateNew, "tool__1.1.sif": StateNew})
	installed := file.New(dir)
	plan, err := NewCleaning(t.Context(), installed, Keys{}, Retention{Branches: []string{"main"}, KeepLast: 1, KeepFor: time.Hour, Now: today})
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Apply(t.Context(), installed); err != nil {
		t.Fatal(err)
	}
	if got := keys(t, installed); !slices.Equal(got, []string{"tool.json", "tool.sif", "tool__1.1.sif"}) {
		t.Errorf("left: %q", got)
	}
	text, err := json.Marshal(manifest(t, installed, "tool").Newest)
	if err != nil || !strings.Contains(string(text), "tool__1.1.sif") {
		t.Errorf("%s, %v", text, err)
	}
}
