package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Markdown shows the graph in a job summary or a note of a merge request: what is to be done and
// why, and the critical path. Names and reasons come from outside, and stay text.
func (g *Graph) Markdown() string {
	var b strings.Builder
	if g.Empty() {
		fmt.Fprintf(&b, "**Nothing to build**: %d containers are up to date.\n", g.UpToDate)
		return b.String()
	}
	fmt.Fprintf(&b, "%s. About %s of work, at least %s.\n\n", g.Summary(), minutes(g.Work), minutes(g.Seconds))
	b.WriteString("| step | platform | why | after |\n| --- | --- | --- | --- |\n")
	for _, s := range g.Steps {
		if s.Kind == BaseImage || s.Kind == Concretization || s.Kind == Image {
			fmt.Fprintf(&b, "| %s %s | %s | %s | %s |\n", s.Kind, cell(s.Name), cell(s.Platform), cells(s.Why), g.counts(s.Needs))
		}
	}
	g.packagesMarkdown(&b)
	b.WriteString("\n<details><summary>Critical path</summary>\n\n")
	for _, id := range g.Critical {
		s := g.Steps[g.byID[id]]
		fmt.Fprintf(&b, "1. %s %s, %s\n", s.Kind, cell(strings.TrimSpace(s.Name+" "+s.Version)), minutes(s.Seconds))
	}
	b.WriteString("\n</details>\n")
	return b.String()
}

func (g *Graph) packagesMarkdown(b *strings.Builder) {
	all := g.Of(Package, "")
	if len(all) == 0 {
		return
	}
	fmt.Fprintf(b, "\n<details><summary>%s to build</summary>\n\n| package | hash | platform | for | estimate |\n| --- | --- | --- | --- | --- |\n", plural(len(all), "package"))
	const most = 1000 // a note has a limit
	for _, s := range all[:min(len(all), most)] {
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", cell(s.Name+"@"+s.Version), s.Hash[:min(7, len(s.Hash))], cell(s.Platform), cells(s.Containers), minutes(s.Seconds))
	}
	if more := len(all) - most; more > 0 {
		fmt.Fprintf(b, "\nand %d more\n", more)
	}
	b.WriteString("\n</details>\n")
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
