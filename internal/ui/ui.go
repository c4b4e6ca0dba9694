// Package ui is what a person sees: results on standard output, the log on
// standard error, colours on terminals outside of CI, and in GitHub's job
// summary the tables. It decides nothing.
package ui

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/charmbracelet/log"
	"github.com/dustin/go-humanize"
	"github.com/muesli/termenv"
	"golang.org/x/term"
)

// CI is the system that a target runs in; empty at a shell.
type CI string

// The systems that we tell apart.
const (
	GitHub  CI = "github"
	GitLab  CI = "gitlab"
	OtherCI CI = "other"
)

// A UI talks to the user who called.
type UI struct {
	Out     io.Writer // results
	Log     *log.Logger
	CI      CI
	Summary string // GitHub's job summary: a file to append Markdown to; may be empty
	color   bool   // of what goes to Out
	live    bool   // progress is drawn on a terminal
	screen  *screen
}

// Style is how much is shown, and how.
type Style struct {
	NoColor bool
	Plain   bool // lines of log instead of progress that is drawn over and over, and no colours
	Quiet   bool // no progress, and of the log warnings and errors alone
}

// New talks through out and err. Colours and progress that is drawn need a terminal, each stream its
// own, and no user who asks for none.
func New(out, err io.Writer, ci CI, style Style) *UI {
	colors := func(w io.Writer) bool { return !style.NoColor && !style.Plain && ci == "" && isTerminal(w) }
	u := &UI{CI: ci, color: colors(out), screen: newScreen(err)}
	u.Out = results{out, u.screen}
	u.live = !style.Plain && !style.Quiet && ci == "" && isTerminal(err)
	level := log.InfoLevel
	if style.Quiet {
		level = log.WarnLevel
	}
	u.Log = log.NewWithOptions(noTerminal{u.screen}, log.Options{Level: level})
	profile := termenv.Ascii
	if colors(err) {
		profile = termenv.NewOutput(err).ColorProfile()
	}
	u.Log.SetColorProfile(profile)
	styles := log.DefaultStyles()
	styles.Message = styles.Message.Transform(Line)
	u.Log.SetStyles(styles)
	return u
}

// noTerminal hides from the logger what it writes to: it would ask a terminal
// for its colours, and the answer would land in what the user types. What a
// CI system would take for a command is taken from each line; the logger itself
// escapes control characters of values, and colours are its own.
type noTerminal struct{ w io.Writer }

func (n noTerminal) Write(p []byte) (int, error) {
	var b strings.Builder
	for line := range strings.Lines(string(p)) {
		b.WriteString(guard(line))
	}
	if _, err := io.WriteString(n.w, b.String()); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Err is standard error, for what other programs say: it appears above what is drawn.
func (u *UI) Err() io.Writer { return u.screen }

func isTerminal(w io.Writer) bool {
	if r, ok := w.(results); ok {
		w = r.Writer
	}
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// JSON writes v to standard output, for machines.
func (u *UI) JSON(v any) error {
	encoder := json.NewEncoder(u.Out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

func (u *UI) summarise(markdown string) error {
	if u.Summary == "" {
		return nil
	}
	file, err := os.OpenFile(u.Summary, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("job summary: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("job summary: %w", err)
	}
	const left = "\nMore finds no room in a summary: the job's log has it.\n"
	switch room := maxSummary - info.Size(); {
	case int64(len(markdown)+len(left)) <= room:
	case int64(len(left)) <= room:
		markdown = left
	default:
		return nil
	}
	_, err = file.WriteString(markdown)
	return err
}

// maxSummary is how many bytes a job summary may have: GitHub shows nothing of a longer one.
const maxSummary = 1 << 20

// Size writes a number of bytes as people read it: 12 MiB.
func Size(bytes int64) string { return humanize.IBytes(uint64(max(0, bytes))) }

// Took writes a time to three digits: 1.25s, 340ms.
func Took(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Millisecond).String()
}
