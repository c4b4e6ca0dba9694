package command

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/quote"
)

// Traced prints each command on a line of its own, ready to be pasted into a shell, and then has r
// run it. It hides the command's secrets, and the value of every variable whose name sounds like
// one.
func Traced(w io.Writer, r Runner) Runner {
	shared := &lockedWriter{w: w}
	return func(ctx context.Context, c Cmd) error {
		fmt.Fprintln(shared, "+ "+redact(trace(c), c.Secrets))
		return r(ctx, c)
	}
}

var secretName = regexp.MustCompile(`(?i)TOKEN|PASSWORD|PASSWD|PASSPHRASE|SECRET|CREDENTIAL|PRIVATE|KEY|AUTH$`)

func trace(c Cmd) string {
	words := make([]string, 0, len(c.Env)+1)
	for _, e := range c.Env {
		name, value, _ := strings.Cut(e, "=")
		if secretName.MatchString(name) {
			value = hiddenAs
		} else {
			value = Quote([]string{value})
		}
		words = append(words, name+"="+value)
	}
	line := strings.Join(append(words, Quote(c.Args)), " ")
	if c.Dir != "" {
		return "(cd " + Quote([]string{c.Dir}) + " && " + line + ")"
	}
	return line
}

// Quote joins an argv to a line that a shell splits into the same words.
func Quote(args []string) string { return quote.Line(args) }
