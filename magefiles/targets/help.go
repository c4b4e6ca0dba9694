package targets

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// helpWanted returns the target that is to be explained, where one is: -h TARGET, and what rewrite
// makes of TARGET --help.
func helpWanted(args []string, targets map[string]signature) (signature, bool) {
	if len(args) != 2 || !slices.Contains([]string{"-h", "--help", "-help", "--h"}, args[0]) {
		return signature{}, false
	}
	sig, ok := targets[strings.ToLower(args[1])]
	return sig, ok
}

// calledAs is the name by which a program is called: mage keeps what it compiles under a digest.
func calledAs(path string) string {
	name := filepath.Base(path)
	if _, err := hex.DecodeString(name); err == nil {
		return "mage"
	}
	return name
}

// help explains a target to whoever calls program, with its flags as they are written.
func help(sig signature, program string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nUsage:\n\n\t%s %s", sig.doc, program, sig.name)
	for _, arg := range sig.args {
		fmt.Fprintf(&b, " %s", arg)
	}
	if _, ok := sig.flags[optionalArg]; ok {
		fmt.Fprintf(&b, " [%s]", strings.ToUpper(optionalArg))
	}
	if len(sig.flags) > 0 {
		b.WriteString(" [flags]")
	}
	if _, ok := sig.flags[restArg]; ok {
		b.WriteString(" [-- ARGUMENT ...]")
	}
	b.WriteString("\n")
	flags := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	for i, p := range slices.DeleteFunc(slices.Clone(sig.params), func(p param) bool { return !p.flag || p.name == restArg }) {
		if i == 0 {
			fmt.Fprint(flags, "\nFlags:\n\n")
		}
		fmt.Fprintf(flags, "\t--%s%s\t%s\n", p.name, placeholder(p), p.help)
	}
	_ = flags.Flush()
	return b.String()
}

// placeholder stands for the value of a flag.
func placeholder(p param) string {
	switch p.kind {
	case "bool":
		return ""
	case "int", "float64":
		return "=NUMBER"
	}
	return "=VALUE"
}

// listTargets is one line for each target: its name and the first sentence on it.
func listTargets(targets map[string]signature) string {
	var b strings.Builder
	lines := tabwriter.NewWriter(&b, 0, 4, 4, ' ', 0)
	for _, sig := range slices.SortedFunc(maps.Values(targets), func(a, b signature) int { return cmp.Compare(a.name, b.name) }) {
		fmt.Fprintf(lines, "  %s\t%s\n", sig.name, firstSentence(sig))
	}
	_ = lines.Flush()
	return b.String()
}

// firstSentence is what a target does, without its name at the front.
func firstSentence(sig signature) string {
	text := strings.Join(strings.Fields(sig.doc), " ")
	if _, rest, ok := strings.Cut(text, " "); ok {
		text = rest
	}
	if end := strings.Index(text, ". "); end >= 0 {
		text = text[:end]
	}
	return strings.TrimSuffix(text, ".")
}
