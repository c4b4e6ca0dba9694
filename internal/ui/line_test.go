package ui

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestALineHoldsNothingThatIsActedOn(t *testing.T) {
	for text, want := range map[string]string{
		"qs-server@2.0~tls ^zlib@1.3 größe": "qs-server@2.0~tls ^zlib@1.3 größe",
		"a\x1b[2J\x1b]0;owned\x07b":         `a\x1b[2J\x1b]0;owned\ab`,
		"a\nb\r\nc\td":                      `a\nb\r\nc\td`,
		"::error file=x::y":                 `\::error file=x::y`,
		"  ::add-mask::x":                   `  \::add-mask::x`,
		"std::vector":                       "std::vector",
		"x ##[group]y":                      `x #\#[group]y`,
		"a\u202eb\u2066c\u200bd\u2028e":     `a\u202eb\u2066c\u200bd\u2028e`,
		"a\u009bb\x7f":                      `a\u009bb\x7f`,
		"\xff\xfe and \ufffd":               `\xff\xfe and ` + "\ufffd",
		"":                                  "",
	} {
		if got := Line(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func FuzzLine(f *testing.F) {
	for _, text := range []string{"a\x1b[0m", "::error::x", "\n::x", "##[x", "\\", "\xc3\x28"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		line := Line(text)
		if !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("%q became %q", text, line)
		}
		if strings.HasPrefix(strings.TrimSpace(line), "::") || strings.Contains(line, "##[") {
			t.Fatalf("%q became a command: %q", text, line)
		}
	})
}

func TestWhatComesFromOutsideStaysInItsLine(t *testing.T) {
	var out, log bytes.Buffer
	u := New(&out, &log, GitHub, Style{})
	u.Summary = filepath.Join(t.TempDir(), "summary.md")
	const evil = "x\n::error::owned\x1b[2J ##[error]y | ![p](http://h/p) <b>`c`"
	u.Log.Warn("kept", "tag", evil, "other", "x ##[group]")
	u.Log.Warn(evil)
	if err := u.Print("tag %s of %v", evil, evil); err != nil {
		t.Fatal(err)
	}
	if err := u.Table([]string{"name", "tag"}, [][]string{{"a", evil}}); err != nil {
		t.Fatal(err)
	}
	if err := u.Text("first\n::error::owned\n\tthird\x1b"); err != nil {
		t.Fatal(err)
	}
	summary, err := os.ReadFile(u.Summary)
	if err != nil {
		t.Fatal(err)
	}
	for where, text := range map[string]string{"output": out.String(), "log": log.String(), "summary": string(summary)} {
		for line := range strings.Lines(text) {
			if strings.HasPrefix(strings.TrimLeft(line, " \t"), "::") || strings.Contains(line, "##[") || strings.Contains(line, "\x1b") {
				t.Errorf("%s has the line %q", where, line)
			}
		}
	}
	for _, markup := range []string{"![p]", "<b>", "`c`"} {
		if strings.Contains(string(summary), markup) {
			t.Errorf("the summary holds %s: %s", markup, summary)
		}
	}
	if got := strings.Count(strings.TrimSpace(string(summary)), "\n"); got != 2 {
		t.Errorf("a table of one row has %d lines: %s", got+1, summary)
	}
}
