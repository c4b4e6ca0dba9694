package inspect

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/dustin/go-humanize"
)

// Summary is a difference in a sentence.
func (d Diff) Summary() string {
	what := "no package changes"
	if len(d.Changes) > 0 {
		what = fmt.Sprintf("%d packages change, %d stay", len(d.Changes), d.Same)
	}
	if d.NewSize == 0 {
		return fmt.Sprintf("%s; size %s → not known yet", what, bytesOf(d.OldSize))
	}
	growth := d.NewSize - d.OldSize
	sign := "+"
	if growth < 0 {
		sign, growth = "-", -growth
	}
	return fmt.Sprintf("%s; size %s → %s (%s%s), %s to download", what, bytesOf(d.OldSize), bytesOf(d.NewSize), sign, bytesOf(growth), bytesOf(d.Download))
}

// Markdown is a difference for a merge request.
func (d Diff) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "#### %s: `%s` → `%s`\n\n", d.Platform, d.From, d.To)
	if len(d.Changes) > 0 {
		b.WriteString(TableHeader)
		for _, c := range d.Changes {
			b.WriteString(c.Row())
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "%s\n\n", d.Summary())
	return b.String()
}

// TableHeader is what stands above the rows of a table of changes, in Markdown.
const TableHeader = "| package | change | from | to |\n| --- | --- | --- | --- |\n"

// Row is a change as a row of a table, in Markdown. Its words come from lockfiles, and stay text.
func (c Change) Row() string {
	return fmt.Sprintf("| %s | %s | %s | %s |\n", code(c.Package), c.Kind, code(c.Old), code(c.New))
}

// code makes text of whatever would be markup or end a cell.
func code(text string) string {
	if text == "" {
		return ""
	}
	plain := strings.Map(func(r rune) rune {
		if r == '`' || unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	return "`" + strings.ReplaceAll(plain, "|", "\\|") + "`"
}

func bytesOf(n int64) string { return humanize.IBytes(uint64(max(0, n))) }
