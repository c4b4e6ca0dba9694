package targets

import (
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
)

// makeStandin writes a git repository with what the builder takes for Spack: standin DIR. It is the test double in
// testdata/spack-standin, or where SPACKTAINERS_SPACK names a clone of Spack, that.
func makeStandin(ts *testscript.TestScript, neg bool, args []string) {
	dir := ts.MkAbs(args[0])
	if clone := os.Getenv("SPACKTAINERS_SPACK"); clone != "" {
		ts.Check(ts.Exec("git", "clone", "--quiet", "--branch=main", "--depth=1", "file://"+clone, dir))
		return
	}
	caches := ts.Getenv("CACHES")
	for to, from := range map[string]string{
		".":           filepath.Join(caches, "..", "spack-standin"),
		"share/cache": filepath.Join(caches, "v3-unsigned", "cache"),
		"share/locks": filepath.Join(caches, "v3-unsigned", "locks"),
	} {
		ts.Check(os.CopyFS(filepath.Join(dir, to), os.DirFS(from)))
	}
	ts.Check(ts.Exec("git", "-C", dir, "init", "--quiet", "--initial-branch=main"))
	ts.Check(ts.Exec("git", "-C", dir, "add", "--all"))
	ts.Check(ts.Exec("git", "-C", dir, "-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "--quiet", "--message=Stand-in"))
}
