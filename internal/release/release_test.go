package release

import (
	"debug/elf"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/testing/size"
)

// module writes a small program into a folder of its own.
func module(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":              "module example.org/program\n\ngo 1.24\n",
		"cmd/program/main.go": "package main\n\nfunc main() { println(\"hello\") }\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestTheSameSourceInAnotherFolderGivesTheSameBytes(t *testing.T) {
	size.Need(t, size.All)             // it compiles Go's own packages for both platforms
	t.Setenv("GOFLAGS", "-tags=other") // a user's own settings do not count
	var sums [2]string
	for i := range sums {
		dir := module(t)
		out := filepath.Join(dir, "out")
		files, err := Build(t.Context(), command.Exec(os.Stderr), Options{Dir: dir, Package: "./cmd/program", Name: "program", Out: out, Platforms: []string{"linux/amd64", "linux/arm64"}})
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(out, Checksums))
		if err != nil {
			t.Fatal(err)
		}
		sums[i] = string(text)
		var names []string
		for _, f := range files {
			names = append(names, f.Name)
		}
		want := []string{"program-linux-amd64", "program-linux-amd64.cdx.json", "program-linux-arm64", "program-linux-arm64.cdx.json"}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Error(diff)
		}
		for name, machine := range map[string]elf.Machine{"program-linux-amd64": elf.EM_X86_64, "program-linux-arm64": elf.EM_AARCH64} {
			checkProgram(t, filepath.Join(out, name), machine, dir)
		}
	}
	if sums[0] != sums[1] || strings.Count(sums[0], "\n") != 4 {
		t.Errorf("%s\nand\n%s", sums[0], sums[1])
	}
}

// checkProgram makes sure that a program is static, for the machine, and knows no path of ours.
func checkProgram(t *testing.T, path string, machine elf.Machine, dir string) {
	t.Helper()
	program, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	if program.Machine != machine || program.Section(".interp") != nil {
		t.Errorf("%s is for %s, and has a loader: %v", path, program.Machine, program.Section(".interp") != nil)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), dir) {
		t.Errorf("%s holds %s", path, dir)
	}
	var bill struct {
		Metadata struct {
			Component struct {
				Name string `json:"name"`
			} `json:"component"`
		} `json:"metadata"`
		Components []struct {
			Purl string `json:"purl"`
		} `json:"components"`
	}
	if text, err = os.ReadFile(path + ".cdx.json"); err == nil {
		err = json.Unmarshal(text, &bill)
	}
	if err != nil || bill.Metadata.Component.Name != "example.org/program" || len(bill.Components) != 1 || !strings.HasPrefix(bill.Components[0].Purl, "pkg:golang/std@1.") {
		t.Errorf("%s: %+v %v", path, bill, err)
	}
}

func TestAProgramThatDoesNotCompileIsAnError(t *testing.T) {
	dir := module(t)
	_, err := Build(t.Context(), command.Exec(nil), Options{Dir: dir, Package: "./cmd/other", Name: "program", Out: filepath.Join(dir, "out"), Platforms: []string{"linux/amd64"}})
	if err == nil || !strings.Contains(err.Error(), "build program for linux/amd64: ") {
		t.Errorf("got %v", err)
	}
}
