// Package quote writes text so that a shell, Lua or Tcl reads it back as that text and nothing
// else. NUL, which no argument of a program can hold, is left out.
package quote

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// Shell returns text as one word of a POSIX shell.
func Shell(text string) string {
	return "'" + strings.ReplaceAll(withoutNUL(text), "'", `'\''`) + "'"
}

// ShellWords returns words as a shell reads them back: each one quoted, with spaces between.
func ShellWords(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = Shell(word)
	}
	return strings.Join(quoted, " ")
}

// bare are words that every shell takes as they are.
var bare = regexp.MustCompile(`^[\w@%+=:,./^-][\w@%+=:,./~^-]*$`)

// Line is ShellWords for people to read: words that need no quotes have none.
func Line(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		if quoted[i] = word; !bare.MatchString(word) {
			quoted[i] = Shell(word)
		}
	}
	return strings.Join(quoted, " ")
}

// InShell makes text stand for itself between double quotes of a POSIX shell.
func InShell(text string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "`", "\\`", `$`, `\$`, "\x00", "").Replace(text)
}

// Lua returns text as a string of Lua, of any version. Bytes beyond ASCII stay as they are.
func Lua(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(withoutNUL(text)) {
		switch {
		case c == '"' || c == '\\':
			b.WriteString(`\` + string(c))
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, `\%03d`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// Tcl returns text, which must be UTF-8, as one word of Tcl.
func Tcl(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range withoutNUL(text) {
		switch {
		case strings.ContainsRune(`"\$[]{};`, r):
			b.WriteString(`\` + string(r))
		case unicode.IsControl(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// Comment returns text so that it stays in one line of comment of a shell, Lua or Tcl, behind "# "
// or "-- ": what does not print, and backslashes, with which Tcl goes on in the next line, are
// escaped as in Go.
func Comment(text string) string {
	quoted := strconv.Quote(text)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

func withoutNUL(text string) string { return strings.ReplaceAll(text, "\x00", "") }
