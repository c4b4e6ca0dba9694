package slurm

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/testing/tooltest"
)

const sites = "../../sites"

func siteNames(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob(sites + "/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".yaml"))
	}
	return names
}

func script(t *testing.T, site string, program ...string) string {
	t.Helper()
	s, err := ReadSite(sites, os.DirFS(sites), site)
	if err != nil {
		t.Fatal(err)
	}
	job := Job{Container: "tool", Version: "1.0", Platform: "linux/amd64", Image: s.Images + "/tool.sif", Python: "/opt/view/lib/python3.13/site-packages", Program: program, Site: s}
	text, err := job.Script()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "job.sh")
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestJobsOfAllSitesAreCleanShell(t *testing.T) {
	bash, shellcheck := tooltest.Need(t, "bash"), tooltest.Need(t, "shellcheck")
	for _, site := range siteNames(t) {
		for _, program := range [][]string{nil, {"special", "-mpi", "-python", "/a b/it's.py"}} {
			path := script(t, site, program...)
			for _, argv := range [][]string{{bash, "-n", path}, {shellcheck, path}} {
				if out, err := command.Output(t.Context(), command.Exec(testLog{t}), command.Cmd{Args: argv}); err != nil {
					t.Errorf("%s: %v\n%s", site, err, out)
				}
			}
		}
	}
}

// stand-ins for srun, apptainer and sarus show what they are called with.
func TestJobsHandArgumentsOn(t *testing.T) {
	bash, bin := tooltest.Need(t, "bash"), t.TempDir()
	for name, text := range map[string]string{
		"srun":      "#!/bin/sh\necho \"srun $1\"; shift; exec \"$@\"\n",
		"apptainer": "#!/bin/sh\nfor a in \"$@\"; do printf '[%s]' \"$a\"; done; echo\n",
		"sarus":     "#!/bin/sh\nfor a in \"$@\"; do printf '[%s]' \"$a\"; done; echo\n",
	} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	for _, site := range siteNames(t) {
		got, err := command.Output(t.Context(), command.Exec(testLog{t}), command.Cmd{Args: []string{bash, script(t, site, "special", "it's"), "--config=a b", "$HOME"}, Dir: "/tmp"})
		if err != nil || !strings.HasPrefix(got, "srun --mpi=pmi2\n[run]") || !strings.HasSuffix(got, "/tool.sif][special][it's][--config=a b][$HOME]") || !strings.Contains(got, "/tmp") {
			t.Errorf("%s: %s, %v", site, got, err)
		}
	}
	_, err := command.Output(t.Context(), command.Exec(testLog{t}), command.Cmd{Args: []string{bash, script(t, "generic")}})
	if err == nil || !strings.Contains(err.Error(), "which program of") {
		t.Errorf("without a program: %v", err)
	}
}

func TestASiteThatRunsCommandsIsRefused(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{
		"runtime: apptainer\nbinds: [\"$(rm -rf /)\"]\n":  "only a path and variables",
		"runtime: apptainer\nimages: 'a\"; reboot; \"'\n": "only a path and variables",
		"runtime: docker\n": "none of apptainer",
		"runtime: sarus\ndirectives: [\"--x\\nreboot\"]\n":  "no option of sbatch",
		"runtime: sarus\nbind: [/work]\n":                   `"binds"`,
		"runtime: apptainer\nbinds: [\"`id`\"]\nabout: x\n": "only a path and variables",
		"runtime: apptainer\nbinds: [\"/a\\n/b\"]\n":        "only a path and variables",
		"runtime: apptainer\nabout: \"x\\nreboot\"\n":       "more than one line",
		"runtime: apptainer\nabout: \"x\\x1b[2J\"\n":        "more than one line",
		"runtime: apptainer\nmpi: \"pmi2\\nreboot\"\n":      "no name of what srun",
		"runtime: apptainer\nmpi: \"pmi2; reboot\"\n":       "no name of what srun",
		"runtime: apptainer\nenv: {\"A=1;B\": x}\n":         "no name of a variable",
	} {
		if err := os.WriteFile(filepath.Join(dir, "x.yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadSite(dir, os.DirFS(dir), "x"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := ReadSite(dir, os.DirFS(dir), "y"); err == nil || !strings.Contains(err.Error(), `no site "y"`) {
		t.Errorf("got %v", err)
	}
}

// Whatever an image or a site is called, the script is one that bash reads as it was meant: the
// stand-ins see the words, and nothing else runs.
func TestHostileJobs(t *testing.T) {
	bash := tooltest.Need(t, "bash")
	good := Job{Container: "tool", Version: "1.0", Platform: "linux/amd64", Image: "/images/tool.sif", Program: []string{"tool"}, Site: Site{Runtime: "apptainer"}}
	bad := []string{"x\ntouch HACKED", "x\r\ntouch HACKED", "x\x1b[2J", "x\x00", "x\u2028touch HACKED"}
	odd := []string{"$(touch HACKED)", "`touch HACKED`", "'; touch HACKED; '", `"; touch HACKED; "`, `\`, "--x=a b", "#SBATCH --account=x", "*", "~", "$HOME", "!!"}
	for name, set := range map[string]func(*Job, string){
		"image":    func(j *Job, s string) { j.Image = s },
		"bind":     func(j *Job, s string) { j.Binds = []string{s} },
		"site":     func(j *Job, s string) { j.Site.Binds = []string{s} },
		"about":    func(j *Job, s string) { j.Site.About = s },
		"mpi":      func(j *Job, s string) { j.Site.MPI = s },
		"option":   func(j *Job, s string) { j.Site.Directives = []string{"--x=" + s} },
		"variable": func(j *Job, s string) { j.Site.Env = map[string]string{s: "x"} },
		"value":    func(j *Job, s string) { j.Site.Env = map[string]string{"X": s} },
		"python":   func(j *Job, s string) { j.Python = s },
		"program":  func(j *Job, s string) { j.Program = []string{"tool", s} },
		"argument": func(j *Job, s string) { j.Arguments = []string{s} },
		"name":     func(j *Job, s string) { j.Container = s },
		"version":  func(j *Job, s string) { j.Version = s },
	} {
		for _, text := range slices.Concat(bad, odd) {
			job := good
			set(&job, text)
			script, err := job.Script()
			if err != nil {
				if strings.ContainsAny(err.Error(), "\n\x1b\x00") {
					t.Errorf("%s: the error is no line: %q", name, err)
				}
				continue
			}
			if slices.Contains(bad, text) {
				t.Errorf("%s %q is accepted", name, text)
			}
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "srun"), []byte("#!/bin/sh\nprintf '[%s]' \"$@\"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			out, err := command.Output(t.Context(), command.Exec(testLog{t}), command.Cmd{
				Args: []string{bash, "-c", script}, Dir: dir, Env: []string{"PATH=" + dir + ":/bin:/usr/bin", "HOME=/home"},
			})
			if err != nil {
				t.Errorf("%s %q: %v\n%s", name, text, err, script)
			}
			if left, _ := os.ReadDir(dir); len(left) != 1 {
				t.Errorf("%s %q ran something:\n%s", name, text, script)
			}
			if word := "[" + text + "]"; (name == "program" || name == "argument") && !strings.HasSuffix(out, word) {
				t.Errorf("%s %q arrives as %s", name, text, out)
			}
		}
	}
}

type testLog struct{ testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}
