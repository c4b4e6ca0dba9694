package ui

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// An Annotation is a mistake in a file of the repository.
type Annotation struct {
	Path         string
	Line, Column int // 0: not known
	Text         string
}

// Annotate shows a mistake where GitHub shows the file. Elsewhere it does nothing: the mistake is told
// anyway.
func (u *UI) Annotate(a Annotation) {
	if u.CI != GitHub {
		return
	}
	where := "file=" + property(filepath.ToSlash(a.Path))
	if a.Line > 0 {
		where += fmt.Sprintf(",line=%d", a.Line)
	}
	if a.Column > 0 {
		where += fmt.Sprintf(",col=%d", a.Column)
	}
	u.screen.command(fmt.Sprintf("::error %s::%s", where, data(a.Text)))
}

// data and property escape what GitHub's runner reads, as its own toolkit does.
func data(text string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(text)
}

func property(text string) string {
	return strings.NewReplacer(":", "%3A", ",", "%2C").Replace(data(text))
}

// command writes a line that the system acts on.
func (s *screen) command(line string) { _, _ = io.WriteString(s, line+"\n") }

// foldedBytes is how much of the end of a log is shown.
const foldedBytes = 1 << 20

// Fold shows the end of a log in CI, folded, since the file is gone with the job. At a shell the file
// is there, and it does nothing.
func (u *UI) Fold(title, path string) {
	if u.CI != GitHub && u.CI != GitLab {
		return
	}
	file, err := os.Open(path)
	if err != nil {
		return
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.Size() > foldedBytes {
		_, _ = file.Seek(-foldedBytes, io.SeekEnd)
	}
	section := "log_" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToLower(title))
	begin, end := "::group::"+data(Line(title)), "::endgroup::"
	if u.CI == GitLab {
		now := time.Now().Unix()
		begin = fmt.Sprintf("\x1b[0Ksection_start:%d:%s[collapsed=true]\r\x1b[0K%s", now, section, Line(title))
		end = fmt.Sprintf("\x1b[0Ksection_end:%d:%s\r\x1b[0K", now, section)
	}
	u.screen.command(begin)
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, foldedBytes)
	for lines.Scan() {
		_, _ = io.WriteString(u.screen, Line(strings.ReplaceAll(lines.Text(), "\t", "    "))+"\n")
	}
	u.screen.command(end)
}

// Failed adds what a target has failed for to the job summary.
func (u *UI) Failed(text string) error {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("> " + markdown.Replace(Line(strings.TrimRight(line, "\n"))) + "  \n")
	}
	return u.summarise("**Failed**\n\n" + b.String() + "\n")
}
