package ui

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
)

// Line makes one line of plain text of what may come from outside, such as the name of a tag or a
// package: whatever a terminal or a CI system would act on is written as an escape, as in a Go
// string. These are control characters, line ends of all kinds, characters that turn the direction
// of text or cannot be seen, bytes that are not UTF-8, and the workflow commands of GitHub, which
// begin a line with :: or hold ##[ anywhere.
func Line(text string) string {
	if isPlain(text) {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == unicode.ReplacementChar && !strings.HasPrefix(text[i:], string(unicode.ReplacementChar)):
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case strconv.IsPrint(r):
			b.WriteRune(r)
		default:
			escaped := strconv.QuoteRuneToASCII(r)
			b.WriteString(escaped[1 : len(escaped)-1])
		}
	}
	return guard(b.String())
}

func isPlain(text string) bool {
	for i, r := range text {
		if !strconv.IsPrint(r) || r == unicode.ReplacementChar && !strings.HasPrefix(text[i:], string(r)) {
			return false
		}
	}
	return guard(text) == text
}

// guard takes from a line what GitHub's runner would take for a command to itself.
func guard(line string) string {
	line = strings.ReplaceAll(line, "##[", `#\#[`)
	if rest := strings.TrimLeft(line, " \t"); strings.HasPrefix(rest, "::") {
		line = line[:len(line)-len(rest)] + `\` + rest
	}
	return line
}

// markdown makes text of the job summary of a line: nothing in it is markup, a link or a picture.
var markdown = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "<", "&lt;", ">", "&gt;", "&", "&amp;",
	"~", `\~`, "!", `\!`, "#", `\#`)

// Print writes a line of result to standard output. Arguments are each made one line by Line.
func (u *UI) Print(format string, args ...any) error {
	for i, arg := range args {
		switch arg.(type) {
		case string, error, fmt.Stringer:
			args[i] = Line(fmt.Sprint(arg))
		}
	}
	_, err := fmt.Fprintf(u.Out, format+"\n", args...)
	return err
}

// Text writes lines of result to standard output, made safe by PlainLines.
func (u *UI) Text(lines string) error {
	_, err := io.WriteString(u.Out, strings.TrimSuffix(PlainLines(lines), "\n")+"\n")
	return err
}

// PlainLines makes each line of a text safe by Line, but for its tabs.
func PlainLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		body, ended := strings.CutSuffix(line, "\n")
		for i, part := range strings.Split(body, "\t") {
			if i > 0 {
				b.WriteByte('\t')
			}
			b.WriteString(Line(part))
		}
		if ended {
			b.WriteByte('\n')
		}
	}
	return b.String()
}
