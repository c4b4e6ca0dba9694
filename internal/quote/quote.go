// Package quote writes text so that a shell, Lua or Tcl reads it back as that text and nothing
// else.
package quote

import "strings"

// Shell returns text as one word of a POSIX shell.
func Shell(text string) string { return "'" + strings.ReplaceAll(text, "'", `'"'"'`) + "'" }

// ShellWords returns words as a shell reads them back: each one quoted, with spaces between.
func ShellWords(words []string) string {
	var quoted []string
	for _, word := range words {
		quoted = append(quoted, Shell(word))
	}
	return strings.Join(quoted, " ")
}
