package slurm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/testing/tooltest"
)

// Lua and Tcl themselves read the modules; what they would define shows what they were given, and a
// shell runs the function that they define.
func TestModulesAreReadAsTheyAreMeant(t *testing.T) {
	for _, folder := range []string{"/plain", "/it's", "/a b", `/q"x`, "/$HOME", "/`id`", "/x\ny", `/back\slash`, "/[exec id]", "/}", "/é☃"} {
		m := Module{Container: "py-tool", Version: "1.0", Digest: "sha256:00", SIF: folder + "/tool.sif"}
		lua := "function show(...) for _, v in ipairs({...}) do io.write(v, '\\0') end end\n" +
			"help = show whatis = show setenv = show set_shell_function = show\n" + m.Lua()
		tcl := "fconfigure stdout -encoding utf-8 -translation lf\nproc show {args} { foreach v $args { puts -nonewline $v; puts -nonewline \\0 } }\n" +
			"foreach name {module-whatis setenv set-function} { interp alias {} $name {} show }\n" + m.Tcl()
		for name, c := range map[string]struct {
			argv     []string
			function int // where the function is
		}{
			"lua": {[]string{tooltest.Need(t, "lua"), writeScript(t, lua)}, 6},
			"tcl": {[]string{tooltest.Need(t, "tclsh"), "-encoding", "utf-8", writeScript(t, tcl)}, 5},
		} {
			out, err := command.Output(t.Context(), command.Exec(testLog{t}), command.Cmd{Args: c.argv})
			if err != nil {
				t.Errorf("%s: %q: %v", name, folder, err)
				continue
			}
			got := strings.Split(out, "\x00")
			if len(got) <= c.function || got[c.function-2] != m.SIF || got[c.function-3] != "PY_TOOL_SIF" || got[c.function-1] != "py-tool" {
				t.Errorf("%s: %q is read as %q", name, folder, got)
				continue
			}
			script := "apptainer() { printf '[%s]' \"$@\"; }\nf() { " + got[c.function] + "; }\nf 'a b' '$c'\n"
			ran, err := command.Output(t.Context(), command.Exec(testLog{t}), command.Cmd{Args: []string{tooltest.Need(t, "bash"), writeScript(t, script)}})
			if want := "[exec][" + m.SIF + "][a b][$c]"; err != nil || ran != want {
				t.Errorf("%s: the function runs %q, %v; want %q", name, ran, err, want)
			}
		}
	}
}

func writeScript(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
