package ui

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestGitHubShowsMistakesInFiles(t *testing.T) {
	for ci, want := range map[CI]string{
		GitHub:  "::error file=a%2Cb/spack.yaml,line=3,col=7::unknown key%0A::warning::x 100%25\n::error file=c::y\n",
		GitLab:  "",
		OtherCI: "",
		"":      "",
	} {
		var log bytes.Buffer
		u := New(&bytes.Buffer{}, &log, ci, Style{})
		u.Annotate(Annotation{Path: "a,b/spack.yaml", Line: 3, Column: 7, Text: "unknown key\n::warning::x 100%"})
		u.Annotate(Annotation{Path: "c", Text: "y"})
		if log.String() != want {
			t.Errorf("%s: got %q, want %q", ci, log.String(), want)
		}
	}
}

func TestALogIsFoldedInCI(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("a\n::error::owned\x1b[2J\n\tb\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	folded := map[CI]string{}
	for _, ci := range []CI{GitHub, GitLab, ""} {
		var log bytes.Buffer
		New(&bytes.Buffer{}, &log, ci, Style{}).Fold("log of hello linux/amd64", path)
		folded[ci] = log.String()
	}
	const body = "a\n\\::error::owned\\x1b[2J\n    b\n"
	if got := folded[GitHub]; got != "::group::log of hello linux/amd64\n"+body+"::endgroup::\n" {
		t.Errorf("GitHub: got %q", got)
	}
	if got := folded[GitLab]; !strings.Contains(got, ":log_log_of_hello_linux_amd64[collapsed=true]\r\x1b[0Klog of hello linux/amd64\n"+body+"\x1b[0Ksection_end:") {
		t.Errorf("GitLab: got %q", got)
	}
	if folded[""] != "" {
		t.Errorf("at a shell: got %q", folded[""])
	}
}

func TestTheSummarySaysWhatHasFailed(t *testing.T) {
	u := New(&bytes.Buffer{}, &bytes.Buffer{}, GitHub, Style{})
	u.Summary = filepath.Join(t.TempDir(), "summary.md")
	if err := u.Failed("push x: <b>denied\n\tits log"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(u.Summary)
	if want := "**Failed**\n\n> push x: &lt;b&gt;denied  \n> \\\\tits log  \n\n"; err != nil || string(text) != want {
		t.Errorf("got %q, %v, want %q", text, err, want)
	}
}

// GitHub shows nothing of a summary that is too long.
func TestASummaryStaysAsLongAsItIsShown(t *testing.T) {
	u := New(&bytes.Buffer{}, &bytes.Buffer{}, GitHub, Style{})
	u.Summary = filepath.Join(t.TempDir(), "summary.md")
	for range 3 {
		if err := u.TableWith(strings.Repeat("long ", maxSummary/8), []string{"a"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(u.Summary)
	if err != nil || len(text) > maxSummary || !strings.HasSuffix(string(text), "the job's log has it.\n") {
		t.Errorf("%d bytes, %v: …%q", len(text), err, text[len(text)-80:])
	}
}
