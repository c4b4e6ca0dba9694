package assemble

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"testing"
)

// testdata/replaced.json has random files, and what TextFilePrefixReplacer and
// BinaryFilePrefixReplacer of Spack 0.23.0 make of them.
func TestPrefixesAreReplacedAsSpackDoes(t *testing.T) {
	name := "testdata/replaced.json"
	if other := os.Getenv("REPLACED"); other != "" {
		name = other
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Pairs  [][2]string `json:"pairs"`
		Data   []byte      `json:"data"`
		Text   []byte      `json:"text"`
		Binary []byte      `json:"binary"`
		Failed bool        `json:"binary_error"`
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	failures, wrong := 0, 0
	for i, c := range cases {
		var pairs []replacement
		for _, p := range c.Pairs {
			pairs = append(pairs, replacement{p[0], p[1]})
		}
		r := newReplacer(pairs)
		if got := r.text(slices.Clone(c.Data)); !bytes.Equal(got, c.Text) && wrong < 5 {
			wrong++
			t.Errorf("case %d, text: %q of %q by %q, Spack has %q", i, got, c.Data, pairs, c.Text)
		}
		got := slices.Clone(c.Data)
		err := r.binary(got)
		if err != nil {
			failures++
		}
		if ((err != nil) != c.Failed || !c.Failed && !bytes.Equal(got, c.Binary)) && wrong < 5 {
			wrong++
			t.Errorf("case %d, binary: %q, %v of %q by %q, Spack has %q, %v", i, got, err, c.Data, pairs, c.Binary, c.Failed)
		}
	}
	if len(cases) < 100 || failures < 20 || failures > len(cases)-50 {
		t.Errorf("%d cases, %d refused: they show too little", len(cases), failures)
	}
}
