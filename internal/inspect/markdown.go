package inspect

import (
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"
)

// Summary is a difference in a sentence.
func (d Diff) Summary() string {
	growth := d.NewSize - d.OldSize
	sign := "+"
	if growth < 0 {
		sign, growth = "-", -growth
	}
	what := "no package changes"
	if len(d.Changes) > 0 {
		what = fmt.Sprintf("%d packages change, %d stay", len(d.Changes), d.Same)
	}
	return fmt.Sprintf("%s; size %s → %s (%s%s), %s to download", what, bytesOf(d.OldSize), bytesOf(d.NewSize), sign, bytesOf(growth), bytesOf(d.Download))
}

// Markdown is a difference for a merge request.
func (d Diff) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "#### %s: `%s` → `%s`\n\n", d.Platform, d.From, d.To)
	if len(d.Changes) > 0 {
		b.WriteString("| package | change | from | to |\n| --- | --- | --- | --- |\n")
		for _, c := range d.Changes {
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", c.Package, c.Kind, code(c.Old), code(c.New))
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "%s\n\n", d.Summary())
	return b.String()
}

// code keeps a ~ from striking text out, and a | from ending a cell.
func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + strings.ReplaceAll(text, "|", "\\|") + "`"
}

func bytesOf(n int64) string { return humanize.IBytes(uint64(max(0, n))) }
