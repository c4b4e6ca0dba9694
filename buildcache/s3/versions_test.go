package s3_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/s3"
	"github.com/openbraininstitute/spacktainers/internal/testing/faultproxy"
	"github.com/openbraininstitute/spacktainers/internal/testing/s3test"
	"github.com/openbraininstitute/spacktainers/internal/testing/s3test/storetest"
)

func TestVersioning(t *testing.T) {
	servers(t, func(t *testing.T, server *s3test.Server, bucket string) {
		s := open(t, "s3://"+bucket, options(server))
		check := func(keeps, kept bool) {
			t.Helper()
			on, err := s.Versioning(t.Context())
			was, err2 := s.KeptVersions(t.Context())
			if on != keeps || was != kept || err != nil || err2 != nil {
				t.Errorf("keeps versions: %t, %v; or did so: %t, %v", on, err, was, err2)
			}
		}
		check(false, false)
		server.EnableVersioning(t, bucket)
		check(true, true)
		server.SuspendVersioning(t, bucket)
		check(false, true)
	})
}

// versions returns them by key, the newest first.
func versions(t *testing.T, s *s3.Store, prefix string) map[string][]buildcache.Version {
	t.Helper()
	all := map[string][]buildcache.Version{}
	for v, err := range s.Versions(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		all[v.Key] = append(all[v.Key], v)
	}
	return all
}

func TestVersionsComeBack(t *testing.T) {
	servers(t, func(t *testing.T, server *s3test.Server, bucket string) {
		s := open(t, "s3://"+bucket+"/a cache/", options(server))
		keys := []string{"build_cache/a+b c", "build_cache/é"}
		storetest.Put(t, s, keys[1], "before versions")
		server.EnableVersioning(t, bucket)
		storetest.Put(t, s, keys[0], "first")
		storetest.Put(t, s, keys[0], "second")
		if err := s.Delete(t.Context(), keys); err != nil {
			t.Fatal(err)
		}
		all := versions(t, s, "build_cache/")
		for i, key := range keys {
			got := all[key]
			if len(got) != 3-i || !got[0].Deleted || !got[0].Latest || got[0].ID == "" || got[1].Deleted || got[1].Latest || got[1].Size == 0 || got[1].ETag == "" {
				t.Fatalf("%s: got %+v", key, got)
			}
		}
		if last := all[keys[1]][1]; last.ID != "null" || last.Size != int64(len("before versions")) {
			t.Errorf("got %+v", last)
		}

		for _, key := range keys {
			if err := s.DeleteVersions(t.Context(), all[key][:1]); err != nil { // the marker
				t.Fatal(err)
			}
		}
		if got, _ := storetest.Read(t, s, keys[0]); got != "second" {
			t.Errorf("got %q", got)
		}
		if got, _ := storetest.Read(t, s, keys[1]); got != "before versions" {
			t.Errorf("got %q", got)
		}

		gone := all[keys[0]][2:]
		if err := s.DeleteVersions(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
		if err := s.DeleteVersions(t.Context(), gone); err != nil && !strings.HasPrefix(server.Name, "versitygw") { // which does not know IDs of what is gone
			t.Errorf("deleted twice: %v", err)
		}
		if got := versions(t, s, keys[0])[keys[0]]; len(got) != 1 || !got[0].Latest || got[0].Deleted {
			t.Errorf("got %+v", got)
		}
		if got, _ := storetest.Read(t, s, keys[0]); got != "second" {
			t.Errorf("got %q", got)
		}
	})
}

func TestVersionsAreMoreThanAPage(t *testing.T) {
	servers(t, func(t *testing.T, server *s3test.Server, bucket string) {
		server.EnableVersioning(t, bucket)
		s := open(t, "s3://"+bucket+"/cache", options(server))
		for i := range 3 {
			storetest.PutMany(t, s, fmt.Sprintf("x/%%04d+%d", i/2), 400) // one half of the keys twice
		}
		all := versions(t, s, "x/")
		if len(all) != 800 {
			t.Errorf("got %d keys", len(all))
		}
		for key, got := range all {
			want := 2
			if strings.HasSuffix(key, "+1") {
				want = 1
			}
			if len(got) != want || !got[0].Latest {
				t.Errorf("%s: got %+v", key, got)
			}
		}
	})
}

func TestVersionsWouldRatherFailThanShowAPart(t *testing.T) {
	for name, page := range map[string]string{
		"nothing":     "",
		"no end":      "<ListVersionsResult><IsTruncated>false</IsTruncated>",
		"says nobody": "<ListVersionsResult></ListVersionsResult>",
		"no marker":   "<ListVersionsResult><IsTruncated>true</IsTruncated></ListVersionsResult>",
		"a circle":    "<ListVersionsResult><IsTruncated>true</IsTruncated><NextKeyMarker>a</NextKeyMarker></ListVersionsResult>",
		"foreign":     "<ListVersionsResult><IsTruncated>false</IsTruncated><Version><Key>other/a</Key><VersionId>1</VersionId><IsLatest>true</IsLatest><LastModified>2026-01-01T00:00:00Z</LastModified><ETag>e</ETag><Size>1</Size></Version></ListVersionsResult>",
	} {
		s := canned(t, page)
		var last error
		for _, err := range s.Versions(t.Context(), "") {
			last = err
		}
		if last == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestVersionsSayWhichRightIsMissing(t *testing.T) {
	servers(t, func(t *testing.T, server *s3test.Server, _ string) {
		s, p := proxied(t, server)
		p.Add(faultproxy.Rule{Fault: faultproxy.Fail(403, "AccessDenied")})
		var listed error
		for _, listed = range s.Versions(t.Context(), "") {
		}
		_, asked := s.Versioning(t.Context())
		v := buildcache.Version{Object: buildcache.Object{Key: "a"}, ID: "1"}
		for want, err := range map[string]error{
			"s3:ListBucketVersions":  listed,
			"s3:GetBucketVersioning": asked,
			"s3:DeleteObjectVersion": s.DeleteVersions(t.Context(), []buildcache.Version{v}),
		} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
		}
	})
}
