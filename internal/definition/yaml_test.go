package definition

import (
	"strings"
	"testing"
)

func FuzzReadEnvironment(f *testing.F) {
	for _, seed := range []string{hello, "spack: {specs: [1, {matrix: [[a]]}]}\nspacktainer: {files: ['a:/b'], strip: x}\n", "a: &a\n  <<: [*a]\n", "---\n---\n", "\tx: [", "? {a: b}\n: c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d := Definition{Name: "x", Kind: Environment}
		p := &problems{path: "spack.yaml"}
		(&loader{}).readEnvironment(p, []byte(text), &d)
		lines := strings.Count(text, "\n") + strings.Count(text, "\r") + strings.Count(text, "\u0085") + strings.Count(text, "\u2028") + strings.Count(text, "\u2029") + 1
		for _, err := range p.found {
			if err.Line > lines {
				t.Errorf("%v is behind the %d lines of %q", err, lines, text)
			}
		}
		if len(p.found) > 0 {
			return
		}
		if _, err := d.Environment(Template("zen4")); err != nil {
			t.Errorf("%q is valid but renders no environment: %v", text, err)
		}
	})
}
