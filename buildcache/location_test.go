package buildcache_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

func parseLocation(t *testing.T, text string) buildcache.Location {
	t.Helper()
	l, err := buildcache.ParseLocation(text, "")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestSpellingsOfOneMirrorAreTheSame(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, same := range [][]string{
		{"s3://b", "s3://b/", "s3://b//"},
		{"s3://b/p/q", "s3://b/p/q/", "s3://b//p/q"},
		{"c", "c/", "./c", "sub/../c", "file://" + here + "/c", "file://localhost" + here + "/c/", here + "//c"},
		{"c d", "file://" + here + "/c%20d"},
	} {
		for _, text := range same {
			got, want := parseLocation(t, text), parseLocation(t, same[0])
			if got != want || !got.Same(want) || got.String() != want.String() {
				t.Errorf("%s is %v, %s is %v", text, got, same[0], want)
			}
			if again := parseLocation(t, got.String()); again != got {
				t.Errorf("%s: read again it is %v", text, again)
			}
		}
	}
	in, err := buildcache.ParseLocation("../c/", filepath.Join(here, "sub"))
	if err != nil || in != parseLocation(t, "c") {
		t.Errorf("relative to a folder: got %v, %v", in, err)
	}
	for _, pair := range [][2]string{{"s3://b", "s3://b/p"}, {"s3://b", "b"}, {"c", "C"}, {"s3://b/p", "s3://b/P"}} {
		if parseLocation(t, pair[0]).Same(parseLocation(t, pair[1])) {
			t.Errorf("%v are taken for the same", pair)
		}
	}
}

func TestEndpointsTellMirrorsApart(t *testing.T) {
	l := parseLocation(t, "s3://b/p")
	mine, theirs, alike := l, l, l
	mine.Endpoint, theirs.Endpoint, alike.Endpoint = "https://minio", "https://other", "https://minio/"
	if mine.Same(theirs) || !mine.Same(l) || !l.Same(mine) || !mine.Same(alike) {
		t.Error("the endpoint does not count as it should")
	}
}

func TestParseLocationSaysWhatItCannotTake(t *testing.T) {
	for text, say := range map[string]string{
		"":                           "no address",
		"oci://ghcr.io/x/cache":      "registry",
		"https://mirror.example/x":   "web server",
		"http://mirror.example/x":    "web server",
		"gs://bucket/x":              "storage.googleapis.com",
		"S3://bucket":                "small letters",
		"az://bucket":                "az:// is not supported",
		"s3://":                      "want s3://bucket",
		"s3:///p":                    "want s3://bucket",
		"s3://b/../c":                "want s3://bucket",
		"s3://b/a//c":                "want s3://bucket",
		"s3://b?x=1":                 "want s3://bucket",
		"s3://b\n/x":                 "want s3://bucket",
		"file://host/x":              "want file:///absolute/path",
		"file://":                    "want file:///absolute/path",
		"file:///x?y":                "want file:///absolute/path",
		"s3://id:hunter2@bucket/p":   "credentials",
		"https://me:hunter2@host/p/": "credentials",
	} {
		l, err := buildcache.ParseLocation(text, "")
		if err == nil || !strings.Contains(err.Error(), say) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: got %v, %v; want %q", text, l, err, say)
		}
	}
}

func TestContainsKeepsNeighboursOut(t *testing.T) {
	for _, tt := range []struct {
		outer, inner string
		want         bool
	}{
		{"s3://b", "s3://b/p", true}, {"s3://b/p", "s3://b/p/q", true}, {"s3://b/p", "s3://b/pq", false}, {"s3://b/p", "s3://b", false},
		{"/c", "/c/d", true}, {"/c", "/cd", false}, {"/", "/c", true}, {"/c", "s3://c", false}, {"/c", "/c", true},
	} {
		if got := parseLocation(t, tt.outer).Contains(parseLocation(t, tt.inner)); got != tt.want {
			t.Errorf("%s contains %s: got %v", tt.outer, tt.inner, got)
		}
	}
}
