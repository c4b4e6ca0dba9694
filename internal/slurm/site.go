package slurm

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/openbraininstitute/spacktainers/internal/suggest"
	"github.com/openbraininstitute/spacktainers/internal/yamlstrict"
)

// A Site is a cluster: how it wants its jobs. The sites are data, below sites.
type Site struct {
	About      string            `yaml:"about"`
	Runtime    string            `yaml:"runtime"`    // apptainer, singularity or sarus
	Images     string            `yaml:"images"`     // folder with SIFs, as sif:install leaves it
	MPI        string            `yaml:"mpi"`        // what srun has the processes meet with; empty: pmi2
	Directives []string          `yaml:"directives"` // of sbatch
	Binds      []string          `yaml:"binds"`      // folders of the cluster that the program sees
	Env        map[string]string `yaml:"env"`
}

// ReadSite reads NAME.yaml in a folder of sites, where that has none in those that the program
// brings along, or the file that name is the path of: FILE.yaml.
func ReadSite(dir string, ours fs.FS, name string) (Site, error) {
	path := filepath.Join(dir, name+".yaml")
	if strings.HasSuffix(name, ".yaml") {
		path = name
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && path != name && fs.ValidPath(name) {
		text, err = fs.ReadFile(ours, name+".yaml")
	}
	if errors.Is(err, fs.ErrNotExist) || path != name && !fs.ValidPath(name) {
		return Site{}, fmt.Errorf("no site %q in %s: %s", name, dir, suggest.Hint(name, namesOfSites(dir, ours)))
	}
	if err != nil {
		return Site{}, err
	}
	var s Site
	if err := yamlstrict.Decode(path, text, &s); err != nil {
		return Site{}, err
	}
	return s, s.check(path)
}

func namesOfSites(dir string, ours fs.FS) []string {
	known, _ := filepath.Glob(filepath.Join(dir, "*.yaml"))
	more, _ := fs.Glob(ours, "*.yaml")
	known = append(known, more...)
	for i, k := range known {
		known[i] = strings.TrimSuffix(filepath.Base(k), ".yaml")
	}
	slices.Sort(known)
	return slices.Compact(known)
}

// shellPath is what a job may have a shell read between double quotes: text
// and variables, nothing that runs.
var shellPath = regexp.MustCompile(`^(\$\{?[A-Za-z_][A-Za-z0-9_]*\}?|[A-Za-z0-9/._,:@%+=~ -])*$`)

var (
	mpiName      = regexp.MustCompile(`^[A-Za-z0-9_]*$`)
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

func (s Site) check(path string) error {
	var errs []error
	fail := func(format string, args ...any) {
		errs = append(errs, &yamlstrict.Mistake{Path: path, Message: fmt.Sprintf(format, args...)})
	}
	switch s.Runtime {
	case "apptainer", "singularity", "sarus":
	default:
		fail("runtime: %q is none of apptainer, singularity, sarus", s.Runtime)
	}
	for _, text := range append([]string{s.Images}, s.Binds...) {
		if !shellPath.MatchString(text) {
			fail("%q: only a path and variables may stand here", text)
		}
	}
	if !mpiName.MatchString(s.MPI) {
		fail("mpi: %q is no name of what srun --mpi=list lists", s.MPI)
	}
	if strings.ContainsFunc(s.About, unprintable) {
		fail("about: %q is more than one line of text", s.About)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		if !variableName.MatchString(name) {
			fail("env: %q is no name of a variable", name)
		}
		if strings.ContainsFunc(s.Env[name], unprintable) {
			fail("env: %s: %q is more than one line of text", name, s.Env[name])
		}
	}
	for _, d := range s.Directives {
		if !strings.HasPrefix(d, "-") || strings.ContainsFunc(d, unprintable) {
			fail("directives: %q is no option of sbatch", d)
		}
	}
	return errors.Join(errs...)
}
