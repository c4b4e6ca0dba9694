package attest_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/spdx/tools-golang/json"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/attest"
)

var subject = attest.Subject{Name: "server", Version: "2.0", Digest: "sha256:" + "ab12", Created: time.Unix(0, 0)}

func locks(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob("../../testdata/spack/v?-signed/locks/*")
	if err != nil || len(found) == 0 {
		t.Fatalf("no lockfiles: %v", err)
	}
	return found
}

func TestBothBillsNameEveryPackageAndWhoNeedsWhom(t *testing.T) {
	for _, path := range locks(t) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := buildcache.ParseLockfile(text)
		if err != nil {
			t.Fatal(err)
		}
		spdx, cyclone, err := attest.Bills(subject, text)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		doc, err := json.Read(bytes.NewReader(spdx))
		if err != nil {
			t.Fatalf("%s: SPDX: %v", path, err)
		}
		bom := new(cyclonedx.BOM)
		if err := cyclonedx.NewBOMDecoder(bytes.NewReader(cyclone), cyclonedx.BOMFileFormatJSON).Decode(bom); err != nil {
			t.Fatalf("%s: CycloneDX: %v", path, err)
		}
		if got, want := len(doc.Packages), len(parsed.Specs)+1; got != want {
			t.Errorf("%s: SPDX names %d packages, want %d with the image", path, got, want)
		}
		if got, want := len(*bom.Components), len(parsed.Specs); got != want {
			t.Errorf("%s: CycloneDX names %d components, want %d", path, got, want)
		}
		// A reference to something that is not there makes a bill worthless.
		edges := 0
		refs := map[string]bool{bom.Metadata.Component.BOMRef: true}
		for _, c := range *bom.Components {
			refs[c.BOMRef] = true
		}
		for _, d := range *bom.Dependencies {
			refers := []string{d.Ref}
			if d.Dependencies != nil {
				refers = append(refers, *d.Dependencies...)
			}
			edges += len(refers) - 1
			for _, needed := range refers {
				if !refs[needed] {
					t.Errorf("%s: CycloneDX: nothing is called %s", path, needed)
				}
			}
		}
		if edges < len(parsed.Roots) {
			t.Errorf("%s: CycloneDX has %d edges", path, edges)
		}
		ids := map[string]bool{"DOCUMENT": true}
		for _, p := range doc.Packages {
			ids[string(p.PackageSPDXIdentifier)] = true
		}
		for _, r := range doc.Relationships {
			if !ids[string(r.RefA.ElementRefID)] || !ids[string(r.RefB.ElementRefID)] {
				t.Errorf("%s: SPDX: %v leads nowhere", path, r)
			}
		}
	}
}

func TestTheSameImageGivesTheSameBytes(t *testing.T) {
	text, err := os.ReadFile(locks(t)[0])
	if err != nil {
		t.Fatal(err)
	}
	spdx, cyclone, err := attest.Bills(subject, text)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		spdx2, cyclone2, err := attest.Bills(subject, text)
		if err != nil || !bytes.Equal(spdx, spdx2) || !bytes.Equal(cyclone, cyclone2) {
			t.Fatalf("not the same bytes (%v)", err)
		}
	}
}

func TestABrokenLockfileMakesNoBill(t *testing.T) {
	if _, _, err := attest.Bills(subject, []byte("{}")); err == nil {
		t.Error("no error")
	}
}
