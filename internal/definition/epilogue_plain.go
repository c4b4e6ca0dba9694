package definition

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/command"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// print adds an instruction in plain form, or reports that it has none.
func (e *epilogue) print(n *parser.Node) {
	name := strings.ToLower(n.Value)
	rest := strings.TrimSpace(strings.TrimPrefix(n.Original, n.Value))
	line := strings.ToUpper(name) + " " + rest
	asScript := len(n.Heredocs) > 0 || strings.HasSuffix(rest, `\`)
	switch {
	case asScript && name != command.Run && len(n.Heredocs) > 0:
		e.refuse(n, "%s with a heredoc: put the file below %s/ and name it in files, or write it by RUN", strings.ToUpper(name), FilesFolder)
		return
	case asScript && name != command.Run:
		e.refuse(n, "%s ends in a backslash, which older versions of podman take for a continuation", strings.ToUpper(name))
		return
	case asScript && e.shell:
		e.refuse(n, "RUN with a heredoc or a backslash at its end, behind SHELL: leave SHELL out")
		return
	case asScript:
		script, problem := runScript(n)
		if problem != "" {
			e.refuse(n, "%s", problem)
			return
		}
		line = strings.Join(append(append([]string{"RUN"}, n.Flags...), execForm("/bin/sh", "-c", script)), " ")
	case name == command.Shell:
		e.shell = true
	}
	if !isPlain(line, n, asScript) {
		e.refuse(n, "%s cannot be written on one plain line: control characters, or longer than 64 kB", strings.ToUpper(name))
		return
	}
	e.plain.WriteString(line + "\n")
}

// runScript is what the shell gets from a RUN with heredocs, as BuildKit gives it: a heredoc alone
// is the script itself, others stand behind the command for the shell to read.
func runScript(n *parser.Node) (script, problem string) {
	if n.Next == nil {
		return "", "RUN runs nothing"
	}
	text := n.Next.Value
	if alone, err := parser.ParseHeredoc(text); err == nil && alone != nil && len(n.Heredocs) == 1 {
		content := n.Heredocs[0].Content
		if strings.HasPrefix(content, "#!") {
			return "", "RUN with a heredoc that begins with #!: podman gives it to the shell; name its program, as in RUN python3 <<EOF"
		}
		if n.Heredocs[0].Chomp {
			content = parser.ChompHeredocContent(content)
		}
		return content, ""
	}
	for _, heredoc := range n.Heredocs {
		text += "\n" + heredoc.Content + heredoc.Name
	}
	return text, ""
}

// execForm is a list of words for RUN in which the builder looks up and replaces nothing.
func execForm(words ...string) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(words); err != nil {
		panic(err) // strings are always JSON
	}
	return strings.TrimSpace(b.String())
}

// isPlain reads a line again and reports whether it is one instruction that says what n does. For a
// script it must be a list of words, which is compared by runScript's own test.
func isPlain(line string, n *parser.Node, script bool) bool {
	if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) || strings.Contains(line, `\u0000`) {
		return false
	}
	again, err := parser.Parse(strings.NewReader(line + "\n"))
	if err != nil || len(again.AST.Children) != 1 || again.EscapeToken != parser.DefaultEscapeToken {
		return false
	}
	got := again.AST.Children[0]
	if len(got.Heredocs) > 0 || got.EndLine != 1 || !strings.EqualFold(got.Value, n.Value) {
		return false
	}
	if script {
		return got.Attributes["json"] && slices.Equal(got.Flags, n.Flags)
	}
	return sameWords(got, n)
}

// sameWords compares flags and arguments of two instructions.
func sameWords(a, b *parser.Node) bool {
	text := func(n *parser.Node) string {
		words := slices.Clone(n.Flags)
		for next := n.Next; next != nil; next = next.Next {
			words = append(words, next.Value, next.Dump())
		}
		return execForm(words...)
	}
	return a.Attributes["json"] == b.Attributes["json"] && text(a) == text(b)
}
