package janitor

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Whatever is taken for an index is one to encoding/json as well, says the same
// there, and is written again as it was if nothing
// changes.
func FuzzEntries(f *testing.F) {
	const record = `"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa":{"spec":{"name":"x","version":"1","hash":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},"ref_count":0,"in_buildcache":true}`
	for _, text := range []string{
		`{"database":{"version":"7","installs":{}}}`,
		`{"database":{"version":"8","installs":{` + record + `}}}`,
		"{ \"database\" : {\"installs\" : { " + record + " } , \"version\" : \"8\" } }\n",
		`{"database":{"version":"8","installs":{` + record + `,` + record + `}}}`,
		`{"database":{"version":"8","installs":{"\u0061aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa":{}}}}`,
		`{"database":{"version":"8","installs":{}}} {}`,
		`{"database":{"version":"7","installs":{"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb":{"spec":{"name":"y","version":"1","dependencies":[{"name":"x",` +
			`"hash":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","parameters":{"deptypes":["link"],"virtuals":[]}}],"hash":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"},` +
			`"in_buildcache":false,"ref_count":12}, ` + record + `}}}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := parseEntries(data)
		if err != nil {
			return
		}
		var x map[string]json.RawMessage
		var db map[string]json.RawMessage
		var installs map[string]map[string]json.RawMessage
		if json.Unmarshal(data, &x) != nil || json.Unmarshal(x["database"], &db) != nil || json.Unmarshal(db["installs"], &installs) != nil {
			t.Fatalf("%q is no index", data)
		}
		if len(installs) != len(e.records) {
			t.Fatalf("%d records, want %d", len(e.records), len(installs))
		}
		for _, r := range e.records {
			var refs int
			var cached bool
			raw := installs[string(r.hash)]
			if json.Unmarshal(raw["ref_count"], &refs) != nil || json.Unmarshal(raw["in_buildcache"], &cached) != nil || refs != r.refs || cached != r.cached {
				t.Fatalf("%s: got %d, %v, want %d, %v", r.hash, r.refs, r.cached, refs, cached)
			}
			p := r.patch(r.refs+1, !r.cached)
			if p.refs != r.refs+1 || p.cached == r.cached {
				t.Fatalf("patched to %s", p.raw)
			}
			if back := p.patch(r.refs, r.cached); string(back.raw[back.refAt.to:]) == "" {
				t.Fatal("the record is cut")
			}
		}
		var was, is bytes.Buffer
		if json.Compact(&was, data) != nil || json.Compact(&is, e.bytes()) != nil || !bytes.Equal(was.Bytes(), is.Bytes()) {
			t.Fatalf("written again as %q, was %q", e.bytes(), data)
		}
		gone := map[buildcache.Hash]bool{}
		for i, r := range e.records {
			gone[r.hash] = i%2 == 0
		}
		if _, err := parseEntries(e.without(gone).bytes()); err != nil {
			t.Fatalf("what is written is no index: %v", err)
		}
	})
}
