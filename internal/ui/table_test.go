package ui

import (
	"bytes"
	"strings"
	"testing"

	"github.com/mattn/go-runewidth"
)

func TestATableFitsTheTerminal(t *testing.T) {
	header := []string{"container", "platform", "why", "size", "digest"}
	rows := [][]string{
		{"neurodamus-neocortex-multiscale", "linux/amd64", "which digest has docker.io/library/ubuntu:24.04: it cannot be reached: pin it", "12 MiB", "sha256:" + strings.Repeat("ab", 32)},
		{"b", "linux/arm64", "in out", "999 B", "sha256:" + strings.Repeat("cd", 32)},
	}
	for _, width := range []int{80, 100, 200, 0} {
		var out bytes.Buffer
		u := New(&out, &bytes.Buffer{}, "", Style{})
		if err := u.writeTable(header, rows, width); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out.String()) {
			if w := runewidth.StringWidth(strings.TrimSuffix(line, "\n")); width > 0 && w > width {
				t.Errorf("%d columns: %d: %q", width, w, line)
			}
		}
		if whole := strings.Contains(out.String(), rows[0][4]); whole != (width == 0 || width == 200) {
			t.Errorf("%d columns: the digest is whole: %v\n%s", width, whole, out.String())
		}
		for _, want := range []string{"neurodamus-neocortex-m", "linux/amd64", "12 MiB", " 999 B", "sha256:ababab"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%d columns: no %q in\n%s", width, want, out.String())
			}
		}
	}
	if rows[0][4] != "sha256:"+strings.Repeat("ab", 32) {
		t.Error("the caller's rows are changed")
	}
}

func TestNumbersAreAlignedToTheRight(t *testing.T) {
	var out bytes.Buffer
	err := New(&out, &bytes.Buffer{}, "", Style{}).Table([]string{"name", "number", "size", "time"}, [][]string{{"a", "7", "999 B", "1.25s"}, {"b", "12000", "11 KiB", "1m20s"}, {"c", "", "", ""}})
	want := "NAME  NUMBER    SIZE   TIME\na          7   999 B  1.25s\nb      12000  11 KiB  1m20s\nc\n"
	if err != nil || out.String() != want {
		t.Errorf("got\n%s, %v, want\n%s", out.String(), err, want)
	}
}

func TestANarrowCellKeepsWhatTellsIt(t *testing.T) {
	for cell, want := range map[string]string{
		"container_definitions/amd64/hello/spack.yaml": "…hello/spack.yaml",
		"sha256:0123456789abcdef0123":                  "sha256:012345678…",
		"a word and some more":                         "a word and some\nmore",
		"short":                                        "short",
	} {
		if got := narrow(cell, 17); got != want {
			t.Errorf("%q: got %q, want %q", cell, got, want)
		}
	}
}
