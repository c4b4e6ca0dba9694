package inventory_test

import (
	"encoding/csv"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache/inventory"
)

// oddKey makes a key of what CSV and URLs take for something else.
func oddKey(r *rand.Rand) string {
	pieces := []string{"a", "Z", "9", "/", " ", "+", "%", "%20", "é", "漢", "\n", "\r\n", "\"", ",", "'", "\\", ";", "=", "&", "?", "#", "~", "-", ".", "\x00", "\x7f", "\xff", "😀"}
	var b strings.Builder
	for range 1 + r.IntN(20) {
		b.WriteString(pieces[r.IntN(len(pieces))])
	}
	return b.String()
}

func TestABatchManifestHoldsAnyKey(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		var want []inventory.Target
		for range r.IntN(30) {
			target := inventory.Target{Key: oddKey(r)}
			if round%2 == 1 {
				target.Version = oddKey(r)
			}
			want = append(want, target)
		}
		file := filepath.Join(t.TempDir(), "batch.csv")
		if err := inventory.WriteBatch(file, mirror, slices.Values(want)); err != nil {
			t.Fatal(err)
		}
		for name, unescape := range map[string]func(string) (string, error){"as a query": url.QueryUnescape, "as a path": url.PathUnescape} {
			if got := readBatch(t, file, unescape); !slices.Equal(got, want) {
				t.Fatalf("%s: got %q, want %q", name, got, want)
			}
		}
	}
}

func readBatch(t *testing.T, file string, unescape func(string) (string, error)) (targets []inventory.Target) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(string(text))).ReadAll()
	if err != nil || len(rows) != strings.Count(string(text), "\n") || strings.ContainsAny(string(text), "\" \r") {
		t.Fatalf("got %q, %v", text, err)
	}
	for _, row := range rows {
		row = append(row, "")
		key, err := unescape(row[1])
		version, err2 := unescape(row[2])
		key, ok := strings.CutPrefix(key, "develop/")
		if row[0] != "our-cache" || err != nil || err2 != nil || !ok {
			t.Fatalf("got %q", row)
		}
		targets = append(targets, inventory.Target{Key: key, Version: version})
	}
	return targets
}

func TestABatchManifestIsWholeOrNotThere(t *testing.T) {
	for name, targets := range map[string][]inventory.Target{
		"an empty key":       {{Key: "a"}, {Key: ""}},
		"a version for some": {{Key: "a", Version: "1"}, {Key: "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "batch.csv")
			if err := os.WriteFile(file, []byte("old"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := inventory.WriteBatch(file, mirror, slices.Values(targets)); err == nil {
				t.Error("no error")
			}
			left, _ := os.ReadDir(filepath.Dir(file))
			if text, err := os.ReadFile(file); string(text) != "old" || err != nil || len(left) != 1 {
				t.Errorf("left %v, %q, %v", left, text, err)
			}
		})
	}
	if err := inventory.WriteBatch(filepath.Join(t.TempDir(), "no", "folder"), mirror, slices.Values([]inventory.Target{})); err == nil {
		t.Error("no error")
	}
}
