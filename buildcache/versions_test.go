package buildcache_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

const someSum = "a86cb0104ad98ed5a7b51d2f8a6b7e7a3ad3d4b3e1cf5d0f3bbd8c0b5d5e8f10"

func manifestOf(mediaTypes ...string) string {
	var blobs []string
	for i, t := range mediaTypes {
		sum := fmt.Sprintf("%02x%s", i, someSum[2:])
		blobs = append(blobs, `{"contentLength":1,"mediaType":"`+t+`","compression":"gzip","checksumAlgorithm":"sha256","checksum":"`+sum+`"}`)
	}
	return `{"version":3,"data":[` + strings.Join(blobs, ",") + `]}`
}

func TestManifestBlobGoesByTheVersionOfItsFormat(t *testing.T) {
	spec := func(v string) string { return "application/vnd.spack.spec.v" + v + "+json" }
	tests := []struct {
		types []string
		want  string // "" is an error
		notes int
	}{
		{[]string{spec("5")}, spec("5"), 0},
		{[]string{spec("6")}, spec("6"), 0},
		{[]string{spec("6"), spec("5")}, spec("6"), 0},
		{[]string{spec("7"), spec("5")}, spec("5"), 1},
		{[]string{spec("8"), spec("7")}, spec("7"), 2},
		{[]string{spec("5"), spec("5")}, "", 0},
		{[]string{spec("05")}, "", 1},
		{[]string{spec("-5")}, "", 1},
		{[]string{spec("")}, "", 1},
		{[]string{"application/json"}, "", 1},
		{[]string{spec("5"), "application/vnd.cyclonedx+json"}, spec("5"), 1},
	}
	for _, tt := range tests {
		m, err := buildcache.ParseManifest([]byte(manifestOf(tt.types...)))
		if err != nil {
			t.Fatal(err)
		}
		b, err := m.Blob(buildcache.SpecBlob)
		if b.MediaType != tt.want || (err == nil) != (tt.want != "") || err != nil && !errors.Is(err, buildcache.ErrFormat) {
			t.Errorf("%v: got %q, %v", tt.types, b.MediaType, err)
		}
		if notes := m.Notes(); len(notes) != tt.notes {
			t.Errorf("%v: got the notes %q", tt.types, notes)
		}
	}
}

func TestManifestTextIsReadBack(t *testing.T) {
	const db = "application/vnd.spack.db.v"
	m, err := buildcache.ParseManifest([]byte(manifestOf(db+"9+json", db+"8+json")))
	if err != nil {
		t.Fatal(err)
	}
	again, err := buildcache.ParseManifest(m.Text())
	if err != nil || fmt.Sprint(again) != fmt.Sprint(m) {
		t.Errorf("got %v, %v; want %v", again, err, m)
	}
	indexes, err := again.BlobsOf(buildcache.IndexBlob)
	if err != nil || len(indexes) != 2 || indexes[0].MediaType != buildcache.IndexMediaType("8") || indexes[1].MediaType != buildcache.IndexMediaType("9") {
		t.Errorf("got %v, %v; want both indexes by version", indexes, err)
	}
}
