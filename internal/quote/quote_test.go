package quote_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/quote"
	"github.com/openbraininstitute/spacktainers/internal/testing/tooltest"
)

// hostile are texts that say something to one of the languages.
var hostile = []string{
	"", "plain", "a b", "it's", `"quoted"`, "$HOME", "${HOME}", "$(id)", "`id`", `\`, `\\`, `a\`, "a\nb", "\n", "a\r\nb", "\t", "a\\\nb", "#x", "# x", "-n", "--", "!!", "!x", "~", "~root", "*", "?", "[a]",
	"{a,b}", "a;b", "a&b", "a|b", ">x", "<x", "((1))", "[exec id]", "{", "}", "}{", "]]", "[[", "]]--", "--[[", "[==[", `\065`, `\x41`, `\u0041`, "%d", "é ☃ 𝄞", "\x1b[2J", "\x7f", "\u0085", "\u2028", "\ufeff", "'\\''",
	`'"'"'`, "a'b'c", "$'x'", `"$@"`, "\v\f\b\a", strings.Repeat("x'", 500), "x=1", "=x", "^a^b", "::error::x", "\"); os.execute(\"id", "\" ; exec id ; \"",
}

func output(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := command.Output(t.Context(), command.Exec(nil), command.Cmd{Args: argv})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Each language itself reads the texts back.
func TestTextIsReadBackAsItIs(t *testing.T) {
	texts := append(slices.Clone(hostile), strings.Join(hostile, ""))
	each := func(before string, word func(string) string, after string) string {
		var b strings.Builder
		for _, text := range texts {
			b.WriteString(before + word(text) + after)
		}
		return b.String()
	}
	double := func(text string) string { return `"` + quote.InShell(text) + `"` }
	line := func(text string) string { return quote.Line([]string{text}) }
	shell := func(word func(string) string) string { return "printf '%s|'" + each(" ", word, "") + "\n" }
	dash, bash, busybox := tooltest.Need(t, "dash"), tooltest.Need(t, "bash"), tooltest.Need(t, "busybox")
	for name, argv := range map[string][]string{
		"dash":             {dash, writeFile(t, shell(quote.Shell))},
		"bash":             {bash, writeFile(t, shell(quote.Shell))},
		"busybox":          {busybox, "sh", writeFile(t, shell(quote.Shell))},
		"words":            {dash, writeFile(t, "printf '%s|' "+quote.ShellWords(texts))},
		"for people":       {bash, writeFile(t, shell(line))},
		"in double quotes": {dash, writeFile(t, shell(double))},
		"double in bash":   {bash, writeFile(t, shell(double))},
		"lua":              {tooltest.Need(t, "lua"), writeFile(t, each("io.write(", quote.Lua, `, "|")`+"\n"))},
		"tcl":              tcl(t, each("puts -nonewline ", quote.Tcl, "; puts -nonewline |\n")),
	} {
		t.Run(name, func(t *testing.T) {
			got := strings.Split(output(t, argv...), "|")
			want := strings.Split(strings.Join(texts, "|")+"|", "|")
			if !slices.Equal(got, want) {
				for i := range min(len(got), len(want)) {
					if got[i] != want[i] {
						t.Fatalf("%q is read back as %q", want[i], got[i])
					}
				}
				t.Fatalf("%d texts are read back as %d", len(want), len(got))
			}
		})
	}
}

// tcl runs a script that is a file, as module files are.
func tcl(t *testing.T, script string) []string {
	t.Helper()
	path := writeFile(t, "fconfigure stdout -encoding utf-8 -translation lf\n"+script+"\n")
	return []string{tooltest.Need(t, "tclsh"), "-encoding", "utf-8", path}
}

// What stands in a comment ends with its line, and the line behind it is run.
func TestCommentsStayInTheirLine(t *testing.T) {
	script := func(mark, command string) string {
		var b strings.Builder
		for _, text := range hostile {
			b.WriteString(mark + quote.Comment(text) + "\n" + command + "\n")
		}
		return b.String()
	}
	for name, argv := range map[string][]string{
		"dash": {tooltest.Need(t, "dash"), writeFile(t, script("# ", "echo after"))},
		"bash": {tooltest.Need(t, "bash"), writeFile(t, script("# ", "echo after"))},
		"lua":  {tooltest.Need(t, "lua"), writeFile(t, script("-- ", "print('after')"))},
		"tcl":  tcl(t, script("# ", "puts after")),
	} {
		if got, want := output(t, argv...), strings.TrimSuffix(strings.Repeat("after\n", len(hostile)), "\n"); got != want {
			t.Errorf("%s: behind %d comments comes %q", name, len(hostile), got)
		}
	}
}

func TestLineIsForPeople(t *testing.T) {
	got := quote.Line([]string{"podman", "run", "--rm", "-v=/a:/b", "it's", "~x", "a~", "", "x y"})
	if want := `podman run --rm -v=/a:/b 'it'\''s' '~x' a~ '' 'x y'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// read takes a word of a shell apart by POSIX' rules alone: no program, and none of the code above.
func read(word string) (text string, ok bool) {
	var b strings.Builder
	for word != "" {
		switch {
		case word[0] == '\'':
			inside, rest, closed := strings.Cut(word[1:], "'")
			if !closed {
				return "", false
			}
			b.WriteString(inside)
			word = rest
		case word[0] == '\\' && len(word) > 1 && word[1] != '\n':
			b.WriteByte(word[1])
			word = word[2:]
		default:
			return "", false
		}
	}
	return b.String(), true
}

func FuzzShell(f *testing.F) {
	for _, text := range hostile {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		want := strings.ReplaceAll(text, "\x00", "")
		if got, ok := read(quote.Shell(text)); !ok || got != want {
			t.Errorf("%q is written %s and read back %q", text, quote.Shell(text), got)
		}
		if line := quote.Comment(text); strings.ContainsAny(line, "\n\r\x00\x1b") || strings.HasSuffix(strings.ReplaceAll(line, `\\`, ""), `\`) || !utf8.ValidString(line) {
			t.Errorf("the comment of %q is %q", text, line)
		}
		if lua := quote.Lua(text); slices.ContainsFunc([]byte(lua), func(c byte) bool { return c < ' ' || c == 0x7f }) || strings.Count(strings.NewReplacer(`\\`, "", `\"`, "").Replace(lua), `"`) != 2 {
			t.Errorf("Lua's %q is %s", text, lua)
		}
	})
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
