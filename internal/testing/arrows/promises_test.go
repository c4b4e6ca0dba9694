package arrows

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// docs/security.md names the test behind each promise. A test that was renamed or removed must not
// leave a promise behind.
func TestEachPromiseNamesTestsThatExist(t *testing.T) {
	dir := root(t)
	text, err := os.ReadFile(filepath.Join(dir, "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	err = fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "out" || strings.HasPrefix(d.Name(), ".") && name != "."):
			return fs.SkipDir
		case !strings.HasSuffix(name, "_test.go"):
			return nil
		}
		source, err := os.ReadFile(filepath.Join(dir, name))
		all.Write(source)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	tests := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`")
	promises := 0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "| ") {
			continue
		}
		for _, named := range tests.FindAllStringSubmatch(line, -1) {
			promises++
			if !strings.Contains(all.String(), "\nfunc "+named[1]+"(") {
				t.Errorf("there is no %s, which is to hold: %.100s", named[1], line)
			}
		}
	}
	if promises < 50 {
		t.Errorf("found %d tests named in docs/security.md", promises)
	}
}
