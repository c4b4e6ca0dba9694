package index_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache/index"
)

// The databases of all versions have the same shape. Those that were tried are rewritten in their
// own version; newer ones are only read.
func TestVersionsOfTheDatabase(t *testing.T) {
	for _, version := range []string{"6", "7", "8", "9", "10", "42"} {
		text := strings.Replace(small, `"version":"7"`, `"version":"`+version+`"`, 1)
		g, err := index.Read(strings.NewReader(text), int64(len(text)))
		if err != nil {
			t.Fatal(err)
		}
		newer := len(version) > 1
		if g.Version() != version || (g.Note() != "") != newer {
			t.Errorf("version %s: got %s and the note %q", version, g.Version(), g.Note())
		}
		keep := index.NewBits(g.Len())
		keep.Set(g.Entries()[0])
		var b bytes.Buffer
		switch err := g.Rewrite(&b, strings.NewReader(text), keep); {
		case newer && (!errors.Is(err, index.ErrNewer) || b.Len() > 0):
			t.Errorf("version %s: got %v and %d bytes, want ErrNewer", version, err, b.Len())
		case !newer && (err != nil || !strings.Contains(b.String(), `"version":"`+version+`"`)):
			t.Errorf("version %s: got %v, %s", version, err, b.String())
		}
		if err := g.Append(&b, strings.NewReader(text), g, strings.NewReader(text), keep); newer != errors.Is(err, index.ErrNewer) {
			t.Errorf("version %s: append: got %v", version, err)
		}
	}
}
