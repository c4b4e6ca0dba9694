package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/openbraininstitute/spacktainers/internal/inspect"
)

// MaxMarkdown is how many bytes Markdown writes at most: GitHub shows summaries of up to 1 MiB, GitLab
// notes of up to 1,000,000 characters, and each may say more beside it.
const MaxMarkdown = 900_000

// Markdown shows the graph in a job summary or a note of a merge request: what is to be done and
// why, which packages change of containers that are published, and the critical path. Names and
// reasons come from outside, and stay text. What does not fit is counted.
func (g *Graph) Markdown() string { return g.markdown(MaxMarkdown) }

func (g *Graph) markdown(most int) string {
	if g.Empty() {
		return fmt.Sprintf("**Nothing to build**: %d containers are up to date.\n", g.UpToDate)
	}
	b := &bounded{most: most}
	fmt.Fprintf(b, "%s. About %s of work, at least %s.\n\n", g.Summary(), minutes(g.Work), minutes(g.Seconds))
	var rows, critical []string
	for _, s := range g.Steps {
		if s.Kind == BaseImage || s.Kind == Concretization || s.Kind == Image || s.FromFile() {
			rows = append(rows, fmt.Sprintf("| %s %s | %s | %s | %s |\n", s.Kind, cell(s.Name), cell(s.Platform), cells(s.Why), g.counts(s.Needs)))
		}
	}
	b.rows("| step | platform | why | after |\n| --- | --- | --- | --- |\n", rows, len(rows))
	for _, id := range g.Critical {
		s := g.Steps[g.byID[id]]
		critical = append(critical, fmt.Sprintf("1. %s %s, %s\n", s.Kind, cell(strings.TrimSpace(s.Name+" "+s.Version)), minutes(s.Seconds)))
	}
	b.details("Critical path", "", critical, 1000)
	g.packagesMarkdown(b)
	g.changesMarkdown(b)
	return b.String()
}

func (g *Graph) packagesMarkdown(b *bounded) {
	var rows []string
	for _, s := range g.Of(Package, "") {
		rows = append(rows, fmt.Sprintf("| %s | %s | %s | %s | %s |\n", cell(s.Name+"@"+s.Version), s.Hash[:min(7, len(s.Hash))], cell(s.Platform), cells(s.Containers), minutes(s.Seconds)))
	}
	b.details(plural(len(rows), "package")+" to build", "| package | hash | platform | for | estimate |\n| --- | --- | --- | --- | --- |\n", rows, 1000)
}

// changesMarkdown says of each container that is published what changes.
func (g *Graph) changesMarkdown(b *bounded) {
	left := 0
	for _, s := range g.Of(Image, "") {
		if s.Diff == nil {
			continue
		}
		var rows []string
		for _, c := range s.Diff.Changes {
			rows = append(rows, c.Row())
		}
		title := fmt.Sprintf("%s for %s, against %s: %s", cell(s.Name), cell(s.Platform), cell(s.Diff.From), cell(s.Diff.Summary()))
		if len(rows) == 0 && !b.row("\n"+title+"\n") || len(rows) > 0 && !b.details(title, inspect.TableHeader, rows, 200) {
			left++
		}
	}
	if left > 0 {
		fmt.Fprintf(b, "\nWhat changes of %s more finds no room here: `ci:plan --json` has it.\n", plural(left, "container"))
	}
}

// A bounded text has a size that only the lines pass which say what is left out.
type bounded struct {
	strings.Builder
	most int
}

// row adds a part if there is room for it.
func (b *bounded) row(text string) bool {
	if b.Len()+len(text) > b.most {
		return false
	}
	b.WriteString(text)
	return true
}

// rows adds a table, of which so many rows at most.
func (b *bounded) rows(header string, rows []string, most int) {
	b.WriteString(header)
	n := 0
	for n < min(len(rows), most) && b.row(rows[n]) {
		n++
	}
	if n < len(rows) {
		fmt.Fprintf(b, "\nand %d more\n", len(rows)-n)
	}
}

// details adds a table that is folded, if there is room for a beginning of it.
func (b *bounded) details(title, header string, rows []string, most int) bool {
	if len(rows) == 0 {
		return true
	}
	if !b.row(fmt.Sprintf("\n<details><summary>%s</summary>\n\n", title)) {
		return false
	}
	b.rows(header, rows, most)
	b.WriteString("\n</details>\n")
	return true
}

// Summary says in one line what is to be done.
func (g *Graph) Summary() string {
	if g.Empty() {
		return fmt.Sprintf("nothing to do: %s up to date", plural(g.UpToDate, "container"))
	}
	var parts []string
	for _, k := range Kinds {
		steps := g.Of(k, "")
		if len(steps) == 0 {
			continue
		}
		text := plural(len(steps), map[Kind]string{
			BaseImage: "base image", Concretization: "lockfile", Package: "package", Index: "index", Image: "container", Publication: "publication", SIF: "SIF",
		}[k])
		if shared := slices.DeleteFunc(steps, func(s Step) bool { return !s.Shared() }); k == Package && len(shared) > 0 {
			text += fmt.Sprintf(" (%d of them for several containers)", len(shared))
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

// counts says how many steps of each kind IDs are of.
func (g *Graph) counts(ids []string) string {
	count := map[Kind]int{}
	for _, id := range ids {
		count[g.Steps[g.byID[id]].Kind]++
	}
	var parts []string
	for _, k := range Kinds {
		if count[k] > 0 {
			parts = append(parts, plural(count[k], string(k)))
		}
	}
	return strings.Join(parts, ", ")
}

func plural(n int, what string) string {
	switch {
	case n != 1 && what == string(Index):
		return fmt.Sprintf("%d indexes", n)
	case n == 1:
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func minutes(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second)).Round(time.Minute)
	if d < time.Minute {
		return "1m"
	}
	return strings.TrimSuffix(d.String(), "0s")
}

func cells(words []string) string { return cell(strings.Join(words, ", ")) }

// cell makes text of whatever would be markup, in a table's cell.
func cell(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case unicode.IsControl(r):
			b.WriteByte(' ')
		case strings.ContainsRune("\\`*_{}[]<>()#!|~@&", r):
			fmt.Fprintf(&b, "&#%d;", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
