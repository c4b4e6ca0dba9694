package janitor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/file"
	"github.com/openbraininstitute/spacktainers/buildcache/s3"
	"github.com/openbraininstitute/spacktainers/internal/testing/faultproxy"
	"github.com/openbraininstitute/spacktainers/internal/testing/s3test"
	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/lease"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
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

func bucket(t testing.TB, server *s3test.Server, endpoint, name string, edit func(*s3.Options)) *s3.Store {
	t.Helper()
	opts := s3.Options{Endpoint: endpoint, Region: "us-east-1", PathStyle: true, MaxAttempts: 4, MaxBackoff: 5 * time.Millisecond,
		Credentials: s3.Keys(server.AccessKey, server.SecretKey, "")}
	if edit != nil {
		edit(&opts)
	}
	s, err := s3.Open(t.Context(), "s3://"+name+"/some/prefix", opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// oldBucket puts a bundled cache into a bucket, and makes it old.
func oldBucket(t testing.TB, server *s3test.Server, cache string) (name string) {
	t.Helper()
	return bucketWith(t, server, loaded(t, cache).contents())
}

func bucketWith(t testing.TB, server *s3test.Server, contents map[string]string) (name string) {
	t.Helper()
	name = server.NewBucket(t)
	store := bucket(t, server, server.Endpoint, name, nil)
	for key, data := range contents {
		if _, err := store.Put(t.Context(), key, strings.NewReader(data), int64(len(data)), buildcache.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		server.SetModTime(t, name, "some/prefix/"+key, time.Now().Add(-100*day))
	}
	return name
}

// contentsOf reads a whole mirror.
func contentsOf(t testing.TB, store buildcache.Store) map[string]string {
	t.Helper()
	all := map[string]string{}
	for o, err := range store.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if ours(o.Key) {
			continue
		}
		r, _, err := store.Get(t.Context(), o.Key)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		all[o.Key] = string(data)
	}
	return all
}

func planNow(t testing.TB, store buildcache.Store, roots rootset.Roots) *janitor.Plan {
	t.Helper()
	j := janitor.Janitor{Store: writer(store), Mirror: "mirror", Policy: bold, Settle: -1}
	j.Policy.EvenIfWritten = true
	j.Roots = func(context.Context) (rootset.Roots, error) { return roots, nil }
	p, err := j.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	made.Store(p, j)
	return p
}

func writer(store buildcache.Store) janitor.Store {
	if s, ok := store.(janitor.Store); ok {
		return s
	}
	return readOnly{store}
}

// pruned holds a mirror to what must be left of it.
func pruned(t testing.TB, store buildcache.Store, cache, env string) {
	t.Helper()
	v := view(t, contentsOf(t, store))
	v.noHoles(t, "pruned")
	if diff := cmp.Diff(lockClosure(t, false, lockPath(cache, env)), sorted(v.installable)); diff != "" || v.stale {
		t.Errorf("%s: stale %v (-want +got):\n%s", cache, v.stale, diff)
	}
	if again := planNow(t, store, locks(t, cache, env)); !quiet(again) {
		t.Errorf("%s: a second run would do something: %v %v", cache, list(again.Deletions()), again.Mend)
	}
}

func TestPruneFolders(t *testing.T) {
	for _, cache := range bundled {
		dir := filepath.Join(t.TempDir(), "mirror")
		if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "testdata", "spack", cache, "cache"))); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-100 * day)
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			return errors.Join(err, os.Chtimes(path, then, then))
		})
		if err != nil {
			t.Fatal(err)
		}
		if p := planNow(t, file.New(dir), locks(t, cache, "env-a")); len(list(p.Specs())) > 0 || len(list(p.Orphans())) > 0 {
			t.Errorf("%s: what was copied just now, with its times, is condemned: %+v", cache, p.Room)
		}
		store := file.New(dir).ByModTime()
		apply(t, store, planNow(t, store, locks(t, cache, "env-a")))
		pruned(t, store, cache, "env-a")
	}
}

func TestPruneBuckets(t *testing.T) {
	for _, server := range s3test.All(t) {
		for _, cache := range bundled {
			t.Run(server.Name+"/"+cache, func(t *testing.T) {
				name := oldBucket(t, server, cache)
				server.AllowReads(t, name)
				reader := bucket(t, server, server.Endpoint, name, func(o *s3.Options) { o.Credentials, o.Anonymous = nil, true })
				p := planNow(t, reader, locks(t, cache, "env-b"))
				if n := reader.Requests().Writes(); n != 0 {
					t.Errorf("planning made %d requests that write", n)
				}
				store := bucket(t, server, server.Endpoint, name, nil)
				apply(t, store, p)
				pruned(t, store, cache, "env-b")
				t.Log(store.Requests())
			})
		}
	}
}

// Requests fail here and there, in one of many ways. What the store does not
// ride out ends the run; then nothing is lost, and the next one does the rest.
func TestFaultsOfAServer(t *testing.T) {
	for _, server := range s3test.All(t) {
		for name, fault := range map[string]struct {
			faultproxy.Fault
			each int64 // request
			ends bool  // the store cannot know what was meant
		}{
			"500":        {faultproxy.Fail(500, "InternalError"), 3, false},
			"SlowDown":   {faultproxy.Fail(503, "SlowDown"), 23, false},
			"break":      {faultproxy.Break, 3, false},
			"cut":        {faultproxy.CutBody(100), 3, true},
			"lost reply": {faultproxy.LoseReply, 3, false},
		} {
			t.Run(server.Name+"/"+name, func(t *testing.T) {
				t.Parallel() // what takes long is to wait before a request is tried again
				mirror := oldBucket(t, server, "v3-unsigned")
				proxy := faultproxy.New(t, server.Endpoint)
				var n atomic.Int64
				proxy.Add(faultproxy.Rule{Match: func(faultproxy.Request) bool { return n.Add(1)%fault.each == 0 }, Fault: fault.Fault})
				direct := bucket(t, server, server.Endpoint, mirror, nil)
				store := bucket(t, server, proxy.URL, mirror, func(o *s3.Options) { o.MaxAttempts = 12 })
				p := planNow(t, direct, locks(t, "v3-unsigned", "env-a"))
				_, err := of(p, store).Apply(t.Context(), p)
				if err != nil {
					if !fault.ends {
						t.Error(err)
					}
					view(t, contentsOf(t, direct)).noHoles(t, name)
					finish(t, direct, "v3-unsigned")
				}
				pruned(t, direct, "v3-unsigned", "env-a")
			})
		}
	}
}

// finish runs again when the lease of a run that was killed has run out.
func finish(t testing.TB, store janitor.Store, cache string) {
	t.Helper()
	if err := store.Delete(t.Context(), []string{janitor.Prefix + "lease"}); err != nil { // as if it had run out
		t.Fatal(err)
	}
	if _, err := applyNow(t, store, planNow(t, store, locks(t, cache, "env-a"))); err != nil {
		t.Fatalf("run again: %v", err)
	}
}

func applyNow(t testing.TB, store janitor.Store, p *janitor.Plan) (janitor.Result, error) {
	return of(p, store).Apply(t.Context(), p)
}

// The connection is gone for ever after so many writes.
func TestServerGoneAfterAnyWrite(t *testing.T) {
	server := s3test.Versitygw(t)
	roots := locks(t, "v2-unsigned", "env-a")
	for n := 0; ; n++ {
		mirror := oldBucket(t, server, "v2-unsigned")
		direct := bucket(t, server, server.Endpoint, mirror, nil)
		p := planNow(t, direct, roots)
		proxy := faultproxy.New(t, server.Endpoint)
		var writes atomic.Int64
		proxy.Add(faultproxy.Rule{Match: func(r faultproxy.Request) bool {
			if faultproxy.IsWrite(r) {
				writes.Add(1)
			}
			return writes.Load() > int64(n)
		}, Fault: faultproxy.Break})
		store := bucket(t, server, proxy.URL, mirror, func(o *s3.Options) { o.MaxAttempts = 1 })
		_, err := of(p, store).Apply(t.Context(), p)
		if err == nil {
			return
		}
		v := view(t, contentsOf(t, direct))
		v.noHoles(t, fmt.Sprintf("gone after write %d", n))
		for _, hash := range lockClosure(t, false, lockPath("v2-unsigned", "env-a")) {
			if !v.installable[hash] {
				t.Errorf("gone after write %d: lost %s", n, hash)
			}
		}
		finish(t, direct, "v2-unsigned")
		pruned(t, direct, "v2-unsigned", "env-a")
	}
}

func TestNoPermissionToDelete(t *testing.T) {
	for _, server := range s3test.All(t) {
		mirror := oldBucket(t, server, "v3-signed")
		proxy := faultproxy.New(t, server.Endpoint)
		proxy.Add(faultproxy.Rule{
			Match: func(r faultproxy.Request) bool { return faultproxy.IsBatchDelete(r) || r.Method == http.MethodDelete },
			Fault: faultproxy.Fail(403, "AccessDenied"),
		})
		store := bucket(t, server, proxy.URL, mirror, nil)
		_, err := applyNow(t, store, planNow(t, store, locks(t, "v3-signed", "env-a")))
		if !errors.Is(err, janitor.ErrUndeleted) || !strings.Contains(err.Error(), "AccessDenied") {
			t.Errorf("%s: got %v", server.Name, err)
		}
		direct := bucket(t, server, server.Endpoint, mirror, nil)
		view(t, contentsOf(t, direct)).noHoles(t, server.Name)
		finish(t, direct, "v3-signed")
		pruned(t, direct, "v3-signed", "env-a")
	}
}

func TestRegression5OneKeyFailsInsideA200(t *testing.T) {
	for _, server := range s3test.All(t) {
		mirror := oldBucket(t, server, "v2-signed")
		proxy := faultproxy.New(t, server.Endpoint)
		store := bucket(t, server, proxy.URL, mirror, nil)
		p := planNow(t, store, locks(t, "v2-signed", "env-a"))
		var key string
		for d := range p.Deletions() {
			if d.Kind == "spec file" {
				key = d.Key
			}
		}
		proxy.Add(faultproxy.Rule{Match: faultproxy.IsBatchDelete, Fault: faultproxy.KeyError("some/prefix/"+key, "InternalError")})
		r, err := of(p, store).Apply(t.Context(), p)
		if !errors.Is(err, janitor.ErrUndeleted) || !strings.Contains(err.Error(), key) || r.Failed[key] == "" {
			t.Errorf("%s: got %v, %v", server.Name, err, r.Failed)
		}
	}
}

// A listing that ends after a page, as if that were all.
func TestRegression3ListingWithoutItsSecondPage(t *testing.T) {
	for _, server := range s3test.All(t) {
		mirror := oldBucket(t, server, "v3-unsigned")
		direct := bucket(t, server, server.Endpoint, mirror, nil)
		for i := range 1100 { // before the blobs in the order of keys
			if _, err := direct.Put(t.Context(), fmt.Sprintf("blobs/sha256/!/%d", i), bytes.NewReader(nil), 0, buildcache.PutOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		proxy := faultproxy.New(t, server.Endpoint)
		proxy.Add(faultproxy.Rule{Match: faultproxy.IsList, Fault: faultproxy.EndListing})
		store := bucket(t, server, proxy.URL, mirror, nil)
		if _, err := scan.New(t.Context(), store, scan.Options{}); err == nil {
			t.Errorf("%s: a listing without its second page passed for whole", server.Name)
		} else {
			t.Log(err)
		}
	}
}

func TestRegression7ManyJanitorsOneLease(t *testing.T) {
	for _, server := range s3test.All(t) {
		mirror := oldBucket(t, server, "v3-unsigned")
		store := bucket(t, server, server.Endpoint, mirror, nil)
		p := planNow(t, store, locks(t, "v3-unsigned", "env-a"))
		errs := make(chan error, 8)
		for range cap(errs) {
			go func() {
				_, err := of(p, store).Apply(t.Context(), p)
				errs <- err
			}()
		}
		won := 0
		for range cap(errs) {
			if err := <-errs; err == nil {
				won++
			} else if !errors.Is(err, lease.ErrTaken) {
				t.Errorf("%s: %v", server.Name, err)
			}
		}
		if won == 0 {
			t.Errorf("%s: nobody won", server.Name)
		}
		pruned(t, store, "v3-unsigned", "env-a")
	}
}

// A dependent comes between the deletion of a spec file and the end, and the reply to the deletion
// was lost, so that it was sent again: what goes is taken back with all that it needs.
func TestWhatComesTooLateIsTakenBackFromVersions(t *testing.T) {
	for _, server := range s3test.All(t) {
		t.Run(server.Name, func(t *testing.T) {
			both(t, func(t *testing.T, layout int) { tooLate(t, server, layout) })
		})
	}
}

func tooLate(t *testing.T, server *s3test.Server, layout int) {
	s := newStage(t, layout)
	root, e := s.named("root"), s.named("e")
	d := s.named("d", e)
	for _, n := range s.nodes {
		s.push(n, old)
	}
	s.updateIndex(old)
	roots := rootset.Roots{Locks: []rootset.Lock{s.lock("env", root)}}
	mirror := bucketWith(t, server, s.m.contents())
	server.EnableVersioning(t, mirror)
	direct := bucket(t, server, server.Endpoint, mirror, nil)
	proxy := faultproxy.New(t, server.Endpoint)
	x := s.named("x", d)
	wave := 0
	proxy.Add(faultproxy.Rule{Match: faultproxy.IsBatchDelete, Fault: func(w http.ResponseWriter, r *http.Request, forward func() *faultproxy.Reply) {
		if wave++; wave == 3 { // behind d, and e
			for _, u := range s.uploads(x) {
				if _, err := direct.Put(t.Context(), u.key, bytes.NewReader(u.data), int64(len(u.data)), buildcache.PutOptions{}); err != nil {
					t.Error(err)
				}
			}
		}
		if wave == 1 {
			faultproxy.LoseReply(w, r, forward)
		}
		faultproxy.Around(nil, nil)(w, r, forward)
	}})
	store := bucket(t, server, proxy.URL, mirror, nil)
	_, err := applyNow(t, store, planNow(t, store, roots))
	if !errors.Is(err, janitor.ErrUnproved) || !strings.Contains(err.Error(), "it was taken back") {
		t.Errorf("got %v", err)
	}
	v := view(t, contentsOf(t, direct))
	v.noHoles(t, "taken back")
	for _, n := range []*node{root, d, e, x} {
		if !v.installable[n.Hash] {
			t.Errorf("%s is lost after %d deletions", n.Name, wave)
		}
	}
}
