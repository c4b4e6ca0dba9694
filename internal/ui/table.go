package ui

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/mattn/go-runewidth"
)

// Table writes rows below a header to standard output, as Markdown to the job summary too where CI
// has one. Numbers are aligned to the right. A terminal that is too narrow gets sentences in several
// lines, and digests and paths shortened; a file or a pipe gets all as it is.
func (u *UI) Table(header []string, rows [][]string) error {
	asMarkdown := func(cell string) string { return markdown.Replace(Line(cell)) }
	return u.TableWith(newTable(header, rows, asMarkdown).RenderMarkdown()+"\n\n", header, rows)
}

// TableWith is Table, with another text for the job summary: Markdown, in which what comes from
// outside is text.
func (u *UI) TableWith(summary string, header []string, rows [][]string) error {
	width := 0
	if isTerminal(u.Out) {
		width, _ = terminalSize(u.Out)
	}
	if err := u.writeTable(header, rows, width); err != nil {
		return err
	}
	return u.summarise(summary)
}

// writeTable writes a table that fits into a width; 0: any.
func (u *UI) writeTable(header []string, rows [][]string, width int) error {
	plainRows := make([][]string, len(rows))
	for i, row := range rows {
		for _, cell := range row {
			plainRows[i] = append(plainRows[i], Line(cell))
		}
	}
	if width > 0 {
		fit(header, plainRows, width)
	}
	t := newTable(header, plainRows, func(cell string) string { return cell })
	var columns []table.ColumnConfig
	for i := range header {
		if isNumeric(plainRows, i) {
			columns = append(columns, table.ColumnConfig{Number: i + 1, Align: text.AlignRight, AlignHeader: text.AlignRight})
		}
	}
	t.SetColumnConfigs(columns)
	if u.color {
		t.Style().Color.Header = text.Colors{text.Bold}
	}
	for line := range strings.Lines(t.Render() + "\n") {
		if _, err := fmt.Fprintln(u.Out, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

func newTable(header []string, rows [][]string, cell func(string) string) table.Writer {
	t := table.NewWriter()
	t.AppendHeader(row(header, cell))
	for _, r := range rows {
		t.AppendRow(row(r, cell))
	}
	t.SetStyle(plain)
	return t
}

// plain is a table of columns and nothing else: it can be read by people, cut and grepped.
var plain = table.Style{
	Box:     table.BoxStyle{PaddingRight: columnGap},
	Format:  table.FormatOptions{Header: text.FormatUpper},
	Options: table.OptionsNoBordersAndSeparators,
}

const columnGap = "  "

func row(cells []string, escape func(string) string) table.Row {
	var r table.Row
	for _, cell := range cells {
		r = append(r, escape(cell))
	}
	return r
}

// number is a count, a size or a time, as this package writes them.
var number = regexp.MustCompile(`^(\d+(\.\d+)?( ?([KMGTPE]i)?B)?|(\d+h)?(\d+m)?\d+(\.\d+)?(ms|µs|s)|\d+ of \d+)$`)

// isNumeric reports whether a column holds numbers and nothing else.
func isNumeric(rows [][]string, column int) (numeric bool) {
	for _, row := range rows {
		switch {
		case column >= len(row) || row[column] == "":
		case !number.MatchString(row[column]):
			return false
		default:
			numeric = true
		}
	}
	return numeric
}

// leastWidth is what a column that is made narrower keeps.
const leastWidth = 16

// fit makes cells narrower until a table has some width: first in the columns of which people still
// know what is meant then, the widest of them.
func fit(header []string, rows [][]string, width int) {
	widths := make([]int, len(header))
	for i, title := range header {
		widths[i] = runewidth.StringWidth(title)
		for _, row := range rows {
			if i < len(row) {
				widths[i] = max(widths[i], runewidth.StringWidth(row[i]))
			}
		}
	}
	over := len(columnGap)*(len(header)-1) - width
	for _, w := range widths {
		over += w
	}
	for _, which := range []func(column int) bool{
		func(column int) bool {
			return slices.ContainsFunc(rows, func(r []string) bool { return column < len(r) && isLong(r[column]) })
		},
		func(column int) bool { return column > 0 && !isNumeric(rows, column) },
		func(int) bool { return true },
	} {
		for ; over > 0; over-- {
			widest := -1
			for i, w := range widths {
				if which(i) && w > leastWidth && (widest < 0 || w > widths[widest]) {
					widest = i
				}
			}
			if widest < 0 {
				break
			}
			widths[widest]--
		}
	}
	for _, row := range rows {
		for i := range row {
			row[i] = narrow(row[i], widths[min(i, len(widths)-1)])
		}
	}
}

// isLong is true of a cell that has a shorter form: a sentence, a list, a digest, a path.
func isLong(cell string) bool {
	return runewidth.StringWidth(cell) > leastWidth && (strings.ContainsAny(cell, " /") || strings.HasPrefix(cell, "sha256:"))
}

// narrow makes a cell as wide as its column: words go into further lines; of a path the end is kept,
// which tells it from others, and of anything else the beginning.
func narrow(cell string, width int) string {
	switch {
	case runewidth.StringWidth(cell) <= width:
		return cell
	case strings.Contains(cell, " "):
		return wrap(cell, width)
	case strings.Contains(cell, "/") && !strings.HasPrefix(cell, "sha256:"):
		return runewidth.TruncateLeft(cell, runewidth.StringWidth(cell)-width+1, "…")
	}
	return shorten(cell, width)
}

// wrap puts words into lines; a word that has no room in one is narrowed itself.
func wrap(sentence string, width int) string {
	var lines []string
	for _, word := range strings.Fields(sentence) {
		word = narrow(word, width)
		last := len(lines) - 1
		if last >= 0 && runewidth.StringWidth(lines[last])+1+runewidth.StringWidth(word) <= width {
			lines[last] += " " + word
		} else {
			lines = append(lines, word)
		}
	}
	return strings.Join(lines, "\n")
}
