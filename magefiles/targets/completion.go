package targets

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"
)

//go:embed completion.bash
var bashCompletion string

// Completion prints a script that completes targets, flags and the names of
// containers in a shell, for spacktainers and mage: source <(mage completion bash).
func Completion(ctx context.Context, shell string) (err error) {
	defer finish(ctx, &err)
	if shell != "bash" {
		return unknown("shell", shell, []string{"bash"})
	}
	a, err := start()
	if err != nil {
		return err
	}
	return a.Text(completion(signatures()) + bashCompletion)
}

// completion is what a script of a shell has to know of targets: their flags, and which of them take
// the name of a container.
func completion(targets map[string]signature) string {
	var b strings.Builder
	b.WriteString("# Completion of spacktainers and mage for bash: source <(spacktainers completion bash)\ndeclare -gA _spacktainers_flags=(\n")
	named := " "
	for _, sig := range slices.SortedFunc(maps.Values(targets), func(a, b signature) int { return cmp.Compare(a.name, b.name) }) {
		var flags []string
		for _, p := range sig.params {
			if p.flag && p.name != restArg {
				flags = append(flags, "--"+p.name+map[bool]string{false: "="}[p.kind == "bool"])
			}
			if strings.EqualFold(p.name, optionalArg) {
				named += sig.name + " "
			}
		}
		fmt.Fprintf(&b, "\t[%s]='%s'\n", sig.name, strings.Join(append(flags, "--help"), " "))
	}
	fmt.Fprintf(&b, ")\n_spacktainers_named='%s'\n", named)
	return b.String()
}
