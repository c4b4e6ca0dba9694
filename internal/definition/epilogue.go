package definition

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/command"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/openbraininstitute/spacktainers/internal/yamlstrict"
)

// parseEpilogue returns what a Dockerfile.epilogue says, in plain form: one instruction a line,
// without heredocs, continuations, comments or directives. BuildKit's parser reads it, and podman,
// whose own parser is an older one, gets what is printed from that tree: so both see the same
// instructions.
//
// What an epilogue must not do, and what the plain form cannot express, is reported. This is a
// courtesy to its author and no wall: a build step runs any program.
func parseEpilogue(p *problems, data []byte) []byte {
	if mistake := yamlstrict.Encoding(p.path, data); mistake != nil {
		p.mistake(mistake)
		return nil
	}
	if !hasInstruction(data) {
		return nil
	}
	file, err := parser.Parse(bytes.NewReader(data))
	if err != nil {
		p.add(errorLine(err), 0, "%s", parseReason(err))
		return nil
	}
	if file.EscapeToken != parser.DefaultEscapeToken {
		p.add(1, 1, "the directive escape is refused: continue lines with a backslash")
		return nil
	}
	e := epilogue{p: p, lines: strings.Split(string(data), "\n")}
	for _, n := range file.AST.Children {
		e.check(n, n)
		e.print(n)
	}
	return e.plain.Bytes()
}

// hasInstruction reports whether there is more than comments and empty lines, which the parser
// takes for a mistake.
func hasInstruction(data []byte) bool {
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(strings.TrimPrefix(line, "\ufeff")); line != "" && !strings.HasPrefix(line, "#") {
			return true
		}
	}
	return false
}

func errorLine(err error) int {
	var at *parser.LocationError
	if errors.As(err, &at) && len(at.Locations) > 0 && len(at.Locations[0]) > 0 {
		return at.Locations[0][0].Start.Line
	}
	return 0
}

func parseReason(err error) string {
	if strings.Contains(err.Error(), "unterminated heredoc") {
		return "a heredoc has no end"
	}
	return err.Error()
}

// An epilogue is checked and printed instruction by instruction.
type epilogue struct {
	p     *problems
	lines []string // as written, for positions
	plain bytes.Buffer
	shell bool // the default shell is another one from here on
}

// refuse reports what is wrong with an instruction, at the place where it begins.
func (e *epilogue) refuse(n *parser.Node, format string, args ...any) {
	column := 1
	if n.StartLine > 0 && n.StartLine <= len(e.lines) {
		line := e.lines[n.StartLine-1]
		column += len(line) - len(strings.TrimLeft(line, " \t"))
	}
	e.p.add(n.StartLine, column, format, args...)
}

// check refuses what an epilogue must not do. Where is the instruction that holds n: n itself, or
// its ONBUILD.
func (e *epilogue) check(n, where *parser.Node) {
	name := strings.ToLower(n.Value)
	switch {
	case name == command.From:
		e.refuse(where, "FROM starts another image: the epilogue is appended to the last stage")
		return
	case !isInstruction(name):
		e.refuse(where, "%q is no instruction of a Dockerfile", n.Value)
		return
	case name == command.Label:
		e.checkLabels(n, where)
	case name == command.Onbuild && n.Next != nil:
		for _, child := range n.Next.Children {
			e.check(child, where)
		}
	}
	for _, flag := range n.Flags {
		if problem := flagProblem(name, flag); problem != "" {
			e.refuse(where, "%s %s: %s", strings.ToUpper(name), flag, problem)
		}
	}
}

func isInstruction(name string) bool {
	_, ok := command.Commands[name]
	return ok
}

// checkLabels refuses the labels that a build sets. The tree has name, value and separator of each
// in turn.
func (e *epilogue) checkLabels(n, where *parser.Node) {
	for key := n.Next; key != nil; key = key.Next {
		name := strings.NewReplacer(`"`, "", `'`, "", `\`, "").Replace(key.Value)
		switch {
		case OwnLabel(name):
			e.refuse(where, "LABEL %s is set by the build: leave it out", name)
		case strings.Contains(name, "$"):
			e.refuse(where, "LABEL %s: a label's name is literal, no variable in it is looked up", name)
		}
		for range 2 {
			if key.Next != nil {
				key = key.Next
			}
		}
	}
}

// builderStage is the one other stage of a container's Dockerfile, by name and by number.
var builderStage = []string{"builder", "0"}

// flagProblem says what is wrong with a flag of an instruction; empty where nothing is.
func flagProblem(instruction, flag string) string {
	name, value, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
	switch {
	case instruction == command.Run && name == "mount":
		return mountProblem(value)
	case instruction == command.Run && name == "network":
		if value == "none" || value == "default" {
			return ""
		}
		return "a step has the network of the build, or none"
	case instruction == command.Copy && name == "from":
		if slices.Contains(builderStage, value) {
			return ""
		}
		return "an epilogue copies from the stage builder only, not from other images"
	case slices.Contains(plainFlags[instruction], name):
		return ""
	}
	return "this flag is refused in an epilogue"
}

// plainFlags are the flags that concern nothing but the image.
var plainFlags = map[string][]string{
	command.Add:         {"chown", "chmod", "checksum", "link", "exclude", "keep-git-dir", "unpack"},
	command.Copy:        {"chown", "chmod", "link", "parents", "exclude"},
	command.Healthcheck: {"interval", "timeout", "start-period", "start-interval", "retries"},
}

// mountProblem lets a step see the build's own context, or memory: what other builds left, secrets,
// sockets and other images are refused.
func mountProblem(value string) string {
	if strings.ContainsAny(value, "$\"'\\") {
		return "a mount is written without quotes and variables"
	}
	fields := strings.Split(value, ",")
	for _, field := range fields {
		if kind, ok := strings.CutPrefix(field, "type="); ok && kind != "bind" && kind != "tmpfs" {
			return "an epilogue mounts files of the definition (bind) or memory (tmpfs), and no " + kind
		}
	}
	for _, field := range fields {
		key, value, _ := strings.Cut(field, "=")
		switch {
		case key == "type":
		case key == "from":
			return "an epilogue mounts nothing of other images or stages"
		case slices.Contains([]string{"source", "src", "target", "dst", "destination", "size", "tmpfs-size", "tmpfs-mode"}, key):
		case slices.Contains([]string{"ro", "readonly"}, key) && (value == "" || value == "true"):
		default:
			return "a mount has type, source, target and readonly, and no " + field
		}
	}
	return ""
}
