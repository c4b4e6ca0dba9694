package index_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
)

// specs are the spec nodes of an index by hash, as encoding/json sees them.
func specs(t *testing.T, text []byte) map[string]any {
	t.Helper()
	var x struct {
		Database struct {
			Installs map[string]struct{ Spec any }
		}
	}
	if err := json.Unmarshal(text, &x); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	all := map[string]any{}
	for hash, record := range x.Database.Installs {
		all[hash] = record.Spec
	}
	return all
}

// The same cache before and after "spack buildcache migrate" of Spack 1.3.0.dev0: from its spec
// files, all of version 4, WriteRecord must write what "spack buildcache update-index" wrote into
// both of its indexes, of 0.23.0 and of 1.3.0.dev0.
func TestWriteRecordWritesNodesAsSpackDoes(t *testing.T) {
	for database, name := range map[int]string{7: "index-v7.json", 8: "index-v8.json"} {
		want, err := os.ReadFile("testdata/migrated/" + name)
		if err != nil {
			t.Fatal(err)
		}
		got := writeIndex(t, database, "testdata/migrated/zz-run.spec.json", "testdata/migrated/gcc-runtime.spec.json")
		if diff := cmp.Diff(specs(t, want), specs(t, got)); diff != "" {
			t.Errorf("database %d: Spack's (-), ours (+):\n%s", database, diff)
		}
		if _, err := index.Read(bytes.NewReader(got), int64(len(got))); err != nil {
			t.Errorf("database %d: %v", database, err)
		}
	}
}

// writeIndex writes an index of all nodes of some spec files.
func writeIndex(t *testing.T, database int, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteString(`{"database":{"version":"` + string(rune('0'+database)) + `","installs":{`)
	seen := map[string]bool{}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var f struct {
			Spec struct {
				Meta  struct{ Version int } `json:"_meta"`
				Nodes []json.RawMessage
			}
		}
		if err := json.Unmarshal(text, &f); err != nil {
			t.Fatal(err)
		}
		for _, node := range f.Spec.Nodes {
			var n struct{ Hash string }
			if err := json.Unmarshal(node, &n); err != nil {
				t.Fatal(err)
			}
			if seen[n.Hash] {
				continue
			}
			if len(seen) > 0 {
				b.WriteByte(',')
			}
			seen[n.Hash] = true
			if err := index.WriteRecord(&b, node, f.Spec.Meta.Version, database); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.WriteString("}}}")
	return b.Bytes()
}

const nodeHash = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func TestWriteRecordConvertsEdges(t *testing.T) {
	const (
		typed  = `"dependencies":[{"name":"b","hash":"` + nodeHash + `","type":["link","run"]}]`
		listed = `"dependencies":[{"name":"b","hash":"` + nodeHash + `","parameters":{"deptypes":["link","run"],"virtuals":[]}}]`
		direct = `"dependencies":[{"name":"b","hash":"` + nodeHash + `","parameters":{"deptypes":["link","run"],"virtuals":[],"direct":true}}]`
	)
	node := func(rest string) string { return `{"name":"a","version":"1",` + rest + `,"hash":"` + nodeHash + `"}` }
	annotated := func(v string) string { return `,"annotations":{"original_specfile_version":` + v + `}` }
	tests := []struct {
		node           string
		spec, database int
		want           string
	}{
		{node(typed), 3, 6, node(typed)},
		{node(typed), 3, 7, node(listed)},
		{node(typed), 3, 8, node(listed + annotated("3"))},
		{node(listed), 4, 6, node(typed)},
		{node(listed), 4, 7, node(listed)},
		{node(listed), 4, 9, node(listed + annotated("4"))},
		{node(listed + annotated("5")), 5, 8, node(listed + annotated("5"))},
		{node(direct + annotated("4")), 5, 8, node(listed + annotated("4"))},
		{node(`"provided_virtuals":["x"],` + listed + annotated("6")), 6, 9, node(`"provided_virtuals":["x"],` + listed + annotated("6"))},
	}
	for _, tt := range tests {
		var b bytes.Buffer
		if err := index.WriteRecord(&b, []byte(tt.node), tt.spec, tt.database); err != nil {
			t.Fatal(err)
		}
		if want := `"` + nodeHash + `":{"spec":` + tt.want + `,"ref_count":0,"in_buildcache":true}`; b.String() != want {
			t.Errorf("spec file %d, database %d:\ngot  %s\nwant %s", tt.spec, tt.database, b.String(), want)
		}
	}
}

func TestWriteRecordRefuses(t *testing.T) {
	for _, node := range []string{
		``, `null`, `[]`, `{}`, `{"hash":"x"}`, `{"hash":1}`, `{"hash":"` + nodeHash + `"`,
		`{"hash":"` + nodeHash + `","hash":"` + nodeHash + `"}`,
		`{"hash":"` + nodeHash + `","compiler":"gcc"}`,
		`{"hash":"` + nodeHash + `","dependencies":{}}`,
	} {
		var b bytes.Buffer
		if err := index.WriteRecord(&b, []byte(node), 4, 8); err == nil || !strings.Contains(err.Error(), buildcache.ErrFormat.Error()) || b.Len() > 0 {
			t.Errorf("%s: got %v and %q", node, err, b.String())
		}
	}
}
