package janitor_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openbraininstitute/spacktainers/internal/testing/size"
	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// records returns an index's records by hash, compact, with what stands around
// them under "".
func records(t testing.TB, text string) map[string]string {
	t.Helper()
	var x struct {
		Database struct {
			Version  string
			Installs map[string]json.RawMessage
		}
	}
	if err := json.Unmarshal([]byte(text), &x); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"": x.Database.Version}
	for hash, raw := range x.Database.Installs {
		var b bytes.Buffer
		if err := json.Compact(&b, raw); err != nil {
			t.Fatal(err)
		}
		all[hash] = b.String()
	}
	return all
}

// indexOf returns the text of a cache's main index.
func indexOf(t testing.TB, m *memory) string {
	t.Helper()
	if text := m.data("build_cache/index.json"); text != nil {
		return string(text)
	}
	sum := blobsOf(t, string(m.data("v3/manifests/index/index.manifest.json")))[0]
	return string(m.data("blobs/sha256/" + sum[:2] + "/" + sum))
}

func TestReindexWritesWhatSpackWrites(t *testing.T) {
	for _, name := range bundled {
		m := loaded(t, name)
		want := records(t, indexOf(t, m))
		if _, err := clean(m).Reindex(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, records(t, indexOf(t, m))); diff != "" {
			t.Errorf("%s: (-Spack +got)\n%s", name, diff)
		}
		m.remove("build_cache/index.json")
		m.remove("build_cache/index.json.hash")
		m.remove("v3/manifests/index/index.manifest.json")
		writes := m.writes
		if n, err := clean(m).Reindex(t.Context(), true); err != nil || len(n) != 1 || m.writes != writes {
			t.Errorf("%s: dry: %v, %v, %d writes", name, n, err, m.writes-writes)
		}
		if _, err := clean(m).Reindex(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, records(t, indexOf(t, m))); diff != "" || view(t, m.contents()).stale {
			t.Errorf("%s: from nothing (-Spack +got)\n%s", name, diff)
		}
	}
}

func TestRegression8IndexAfterPruneIsThatOfAReindex(t *testing.T) {
	for _, name := range bundled {
		for _, env := range []string{"env-a", "env-b", "env-hello"} {
			m := loaded(t, name)
			before := records(t, indexOf(t, m))
			policy := bold
			policy.DropBuild = true
			apply(t, m, plan(t, m, locks(t, name, env), policy))
			pruned := records(t, indexOf(t, m))
			if len(pruned) >= len(before) {
				t.Fatal("nothing went")
			}
			if _, err := clean(m).Reindex(t.Context(), false); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(records(t, indexOf(t, m)), pruned); diff != "" {
				t.Errorf("%s/%s: (-reindex +prune)\n%s", name, env, diff)
			}
		}
	}
}

// The index that prune leaves, and that of a reindex of what is left, is the one that
// "spack buildcache update-index" of 0.23.0 (v2) and of 1.2.0.dev0 and 1.3.0.dev0 (v3) has written
// of the same pruned cache.
func TestIndexAfterPruneIsThatOfSpacksUpdateIndex(t *testing.T) {
	for _, name := range []string{"v2-unsigned", "v3-unsigned"} {
		packed, err := os.Open(filepath.Join("../testdata/spack", name, "pruned-env-a.index.json.gz"))
		if err != nil {
			t.Fatal(err)
		}
		defer packed.Close()
		unpacked, err := gzip.NewReader(packed)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(unpacked)
		if err != nil {
			t.Fatal(err)
		}
		want := records(t, string(text))
		m := loaded(t, name)
		apply(t, m, plan(t, m, locks(t, name, "env-a"), bold))
		if diff := cmp.Diff(want, records(t, indexOf(t, m))); diff != "" {
			t.Errorf("%s: (-Spack +prune)\n%s", name, diff)
		}
		if _, err := clean(m).Reindex(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, records(t, indexOf(t, m))); diff != "" {
			t.Errorf("%s: (-Spack +reindex)\n%s", name, diff)
		}
	}
}

func TestVerifyFindsWhatIsWrong(t *testing.T) {
	size.Need(t, size.All) // some seconds
	for _, name := range bundled {
		clean := loaded(t, name)
		if f := janitor.Verify(scanned(t, clean)); !f.Sound() {
			t.Errorf("%s: %+v", name, f)
		}
		if f, err := janitor.VerifyDeep(t.Context(), clean, scanned(t, clean), nil, scan.Options{Parallel: 4}); err != nil || !f.Sound() || f.Checked < 30 {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
		for key, data := range clean.contents() {
			if key == "v3/layout.json" || strings.HasPrefix(key, "build_cache/_pgp/") {
				continue // nothing says what must be in these
			}
			gone := clean.clone()
			gone.remove(key)
			if s, err := scan.New(t.Context(), gone, scan.Options{}); err == nil && janitor.Verify(s).Sound() && len(janitor.Verify(s).Orphans) == 0 {
				t.Errorf("%s: sound without %s", name, key)
			}
			if strings.HasSuffix(key, ".spec.json") {
				continue // nothing vouches for an unsigned spec file
			}
			spoiled := clean.clone()
			bad := []byte(data)
			bad[len(bad)/2] ^= 1
			spoiled.set(key, bad, old)
			s, err := scan.New(t.Context(), spoiled, scan.Options{})
			if err != nil {
				continue
			}
			if f, err := janitor.VerifyDeep(t.Context(), spoiled, s, nil, scan.Options{Parallel: 4}); err == nil && f.Sound() && name[3:] == "unsigned" {
				t.Errorf("%s: sound with a flipped bit in %s", name, key)
			}
		}
	}
}

// A cache that Spacks of several versions share has an index for each of their databases: all are
// written again.
func TestReindexWritesEachVersionThatWasThere(t *testing.T) {
	const manifest = "v3/manifests/index/index.manifest.json"
	m := loaded(t, "v3-unsigned")
	before := indexOf(t, m)
	want := records(t, before)
	newer := []byte(strings.Replace(before, `"version":"8"`, `"version":"9"`, 1))
	if string(newer) == before {
		t.Fatal("the index of the fixture is of another version")
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(newer))
	m.set("blobs/sha256/"+sum[:2]+"/"+sum, newer, now)
	blob := fmt.Sprintf(`{"contentLength": %d, "mediaType": "application/vnd.spack.db.v9+json", "compression": "none", "checksumAlgorithm": "sha256", "checksum": %q}`, len(newer), sum)
	old := string(m.data(manifest))
	m.set(manifest, []byte(strings.Replace(old, `"data":[`, `"data":[`+blob+",", 1)), now)
	if len(blobsOf(t, string(m.data(manifest)))) != 2 {
		t.Fatalf("the fixture's manifest is written otherwise: %s", old)
	}
	specs, err := clean(m).Reindex(t.Context(), false)
	if err != nil || len(specs) != 1 {
		t.Fatalf("%v, %v", specs, err)
	}
	versions := map[string]bool{}
	for _, sum := range blobsOf(t, string(m.data(manifest))) {
		got := records(t, string(m.data("blobs/sha256/"+sum[:2]+"/"+sum)))
		versions[got[""]] = true
		if len(got) != len(want) {
			t.Errorf("version %s has %d records, want %d", got[""], len(got), len(want))
		}
	}
	if !versions["8"] || !versions["9"] || len(versions) != 2 {
		t.Errorf("versions %v", versions)
	}
}
