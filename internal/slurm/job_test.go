package slurm

import (
	"os"
	"path/filepath"
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
	s, err := ReadSite(sites, site)
	if err != nil {
		t.Fatal(err)
	}
	job := Job{Container: "tool", Version: "1.0", Platform: "linux/amd64", Image: s.Images + "/tool.sif", Python: "/opt/view/lib/python3.13/site-packages", Program: program, Site: s}
	if err := job.Check(); err != nil {
		t.Error(err)
	}
	path := filepath.Join(t.TempDir(), "job.sh")
	if err := os.WriteFile(path, []byte(job.Script()), 0o755); err != nil {
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
	} {
		if err := os.WriteFile(filepath.Join(dir, "x.yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadSite(dir, "x"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := ReadSite(dir, "y"); err == nil || !strings.Contains(err.Error(), `no site "y"`) {
		t.Errorf("got %v", err)
	}
	if err := (Job{Image: "$(id).sif"}).Check(); err == nil {
		t.Error("an image that runs a command is accepted")
	}
}

type testLog struct{ testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}
