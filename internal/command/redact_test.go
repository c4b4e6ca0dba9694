package command

import (
	"strings"
	"testing"
)

func TestRedactHidesSecretsAcrossWrites(t *testing.T) {
	cases := []struct {
		name    string
		secrets []string
		in      string
		want    string
	}{
		{"none", nil, "hello", "hello"},
		{"empty secrets hide nothing", []string{"", "\n"}, "hello", "hello"},
		{"in the middle", []string{"hunter2"}, "pw=hunter2;", "pw=***;"},
		{"twice", []string{"hunter2"}, "hunter2hunter2", "******"},
		{"a start that comes to nothing", []string{"hunter2"}, "hunter hunt", "hunter hunt"},
		{"starts inside a start", []string{"aab"}, "aaab", "a***"},
		{"the longer of two", []string{"abc", "abcdef"}, "abcdef abcde", "*** ***de"},
		{"over lines", []string{"one\ntwo\n"}, "one\ntwo\nthree", "***\nthree"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for size := 1; size <= len(c.in); size++ {
				var b strings.Builder
				w := Redact(&b, c.secrets...)
				for rest := c.in; rest != ""; {
					n := min(size, len(rest))
					if _, err := w.Write([]byte(rest[:n])); err != nil {
						t.Fatal(err)
					}
					rest = rest[n:]
				}
				if err := w.Close(); err != nil || b.String() != c.want {
					t.Errorf("in writes of %d: got %q, %v, want %q", size, b.String(), err, c.want)
				}
			}
		})
	}
}

func TestRedactHoldsBackNothingButAStart(t *testing.T) {
	var b strings.Builder
	w := Redact(&b, "hunter2")
	if _, err := w.Write([]byte("progress 50 % hun")); err != nil || b.String() != "progress 50 % " {
		t.Errorf("got %q, %v", b.String(), err)
	}
}
