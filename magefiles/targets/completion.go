package targets

import (
	"cmp"
	"context"
	"embed"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/podman"
)

// What is written by hand of the scripts: completion.sh is of bash and of zsh.
//
//go:embed completion.*sh
var completionScripts embed.FS

// shells are those that can be completed in, and how each reads the script.
var shells = map[string]string{
	"bash": "source <(spacktainers completion bash)",
	"fish": "spacktainers completion fish | source",
	"zsh":  "source <(spacktainers completion zsh)",
}

// Completion prints a script that completes targets, flags and the names of
// containers in a shell, bash, zsh or fish, for spacktainers and mage: source <(mage completion bash).
func Completion(ctx context.Context, shell string) (err error) {
	defer finish(ctx, &err)
	if shells[shell] == "" {
		return unknown("shell", shell, sortedKeys(shells))
	}
	a, err := start()
	if err != nil {
		return err
	}
	return a.Text(completion(shell, signatures()))
}

// completion is the script for a shell: what targets take, as their signatures have it, and how the
// shell asks for that.
func completion(shell string, targets map[string]signature) string {
	var all []completed
	for _, sig := range slices.SortedFunc(maps.Values(targets), func(a, b signature) int { return cmp.Compare(a.name, b.name) }) {
		all = append(all, completedTarget(sig))
	}
	parts, data := []string{"completion.sh", "completion." + shell}, shellData
	if shell == "fish" {
		parts, data = parts[1:], fishData
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Completion of spacktainers and mage for %s: %s\n", shell, shells[shell])
	for _, part := range parts {
		text, err := completionScripts.ReadFile(part)
		if err != nil {
			panic(err) // it is embedded
		}
		b.Write(text)
	}
	data(&b, all)
	return b.String()
}

// A completed target is what may be written behind its name.
type completed struct {
	name, help string
	flags      []completedFlag
	words      []string // of which it takes one
	containers bool     // it takes names of containers
}

type completedFlag struct {
	name, help string // --name=, or --name of a switch
	values     []string
}

func completedTarget(sig signature) completed {
	c := completed{name: sig.name, help: firstSentence(sig), words: choices(sig.name, "")}
	for _, p := range sig.params {
		c.containers = c.containers || strings.EqualFold(p.name, optionalArg) && c.words == nil
		if p.flag && p.name != restArg {
			name := "--" + p.name + map[bool]string{false: "="}[p.kind == "bool"]
			c.flags = append(c.flags, completedFlag{name, p.help, choices(sig.name, p.name)})
		}
	}
	c.flags = append(c.flags, completedFlag{"--help", "explain the target", nil}, completedFlag{"--plain", "lines without colours", nil},
		completedFlag{"--quiet", "warnings, errors and results only", nil})
	return c
}

// choices are the values of a flag, or for no flag of the argument of a target, where there are few.
func choices(target, flag string) []string {
	switch sif := strings.HasPrefix(target, "sif"); {
	case flag == "" && (target == "base:build" || target == "publish:base"):
		return podman.Bases
	case flag == "" && target == "completion":
		return sortedKeys(shells)
	case flag == "platform":
		return []string{"linux/amd64", "linux/arm64"}
	case flag == "engine" && sif:
		return []string{"apptainer", "native"}
	case flag == "engine":
		return []string{"assemble", "podman"}
	case flag == "compression" && sif:
		return []string{"gzip", "zstd"}
	}
	return nil
}

// shellData is what targets take, for completion.sh: lists with a word in each line.
func shellData(b *strings.Builder, all []completed) {
	flags, values, named := map[string][]string{}, map[string][]string{}, []string{}
	for _, c := range all {
		for _, f := range c.flags {
			flags[c.name] = append(flags[c.name], f.name)
			values[c.name+strings.TrimSuffix(f.name, "=")] = f.values
		}
		values[c.name] = c.words
		if c.containers {
			named = append(named, c.name)
		}
	}
	list := func(name string, of map[string][]string) {
		fmt.Fprintf(b, "typeset -gA %s\n%[1]s=(\n", name)
		for _, key := range sortedKeys(of) {
			if len(of[key]) > 0 {
				fmt.Fprintf(b, "\t[%s]='%s'\n", key, strings.Join(of[key], "\n"))
			}
		}
		b.WriteString(")\n")
	}
	list("_spacktainers_flags", flags)
	list("_spacktainers_values", values)
	fmt.Fprintf(b, "_spacktainers_targets='%s'\n_spacktainers_named=' %s '\n", strings.Join(sortedKeys(flags), "\n"), strings.Join(named, " "))
}

// fishData is what targets take, as fish has it: a line for each.
func fishData(b *strings.Builder, all []completed) {
	quoted := func(text string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
	}
	line := func(condition, format string, args ...any) {
		fmt.Fprintf(b, "\tcomplete -c $program -n %s %s\n", quoted(condition), fmt.Sprintf(format, args...))
	}
	b.WriteString("set -g __spacktainers_targets")
	for _, c := range all {
		b.WriteString(" " + c.name)
	}
	b.WriteString("\nfor program in spacktainers mage\n")
	for _, c := range all {
		at := "__spacktainers_at " + c.name
		line("__spacktainers_at", "-f -a %s -d %s", c.name, quoted(c.help))
		switch {
		case c.words != nil:
			line(at, "-f -a %s", quoted(strings.Join(c.words, " ")))
		case c.containers:
			line(at, "-f -a '(__spacktainers_names)'")
		}
		for _, f := range c.flags {
			name, takesValue := strings.CutSuffix(strings.TrimPrefix(f.name, "--"), "=")
			kind := ""
			switch {
			case f.values != nil:
				kind = " -x -a " + quoted(strings.Join(f.values, " "))
			case takesValue:
				kind = " -r"
			}
			line(at, "-l %s%s -d %s", name, kind, quoted(f.help))
		}
	}
	b.WriteString("end\n")
}
