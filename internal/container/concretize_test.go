package container

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/definition"
)

// An expectation is what a shipped definition is to become, as upstream builds it: the packages of
// its roots, and what its DAG has or lacks.
type expectation struct {
	roots  []string
	has    map[string]string // package → variant=value, or @version
	absent []string
}

var shipped = map[string]expectation{
	"linux/amd64 appositionizer":         {roots: []string{"appositionizer"}},
	"linux/amd64 brain-indexer":          {roots: []string{"py-brain-indexer"}, absent: []string{"py-numba", "llvm"}, has: map[string]string{"py-brain-indexer": "mpi=true"}},
	"linux/amd64 brayns":                 {roots: []string{"brayns", "py-brayns"}},
	"linux/amd64 connectome-manipulator": {roots: []string{"parquet-converters", "py-connectome-manipulator"}, has: map[string]string{"boost": "cxxstd=11"}, absent: []string{"py-numba", "llvm"}},
	"linux/amd64 functionalizer":         {roots: []string{"parquet-converters", "py-functionalizer"}, has: map[string]string{"boost": "cxxstd=11"}},
	"linux/amd64 multiscale-run": {
		roots: []string{"gmsh", "py-astrovascpy", "py-bluepysnap", "py-libsonata", "py-mpi4py", "py-notebook", "py-numpy", "py-pandas",
			"py-psutil", "py-pyyaml", "py-scipy", "py-simpleeval", "py-tqdm", "py-trimesh"},
		absent: []string{"fltk", "hypre", "superlu-dist", "py-numba", "steps"},
	},
	"linux/amd64 neurodamus-hippocampus":          {roots: []string{"neurodamus-models", "py-neurodamus"}, has: map[string]string{"neurodamus-models": "model=hippocampus"}},
	"linux/amd64 neurodamus-neocortex":            {roots: []string{"neurodamus-models", "py-neurodamus"}, has: map[string]string{"neurodamus-models": "plasticity=false"}},
	"linux/amd64 neurodamus-neocortex-multiscale": {roots: []string{"neurodamus-models"}, has: map[string]string{"neurodamus-models": "metabolism=true"}},
	"linux/amd64 neurodamus-thalamus":             {roots: []string{"neurodamus-models", "py-neurodamus"}, has: map[string]string{"neurodamus-models": "model=thalamus"}},
	"linux/amd64 system-benchmarks":               {roots: []string{"hpl", "ior", "osu-micro-benchmarks"}, has: map[string]string{"osu-micro-benchmarks": "@6.2"}},
	"linux/arm64 system-benchmarks":               {roots: []string{"hpl", "ior", "osu-micro-benchmarks"}, has: map[string]string{"osu-micro-benchmarks": "@6.2"}},
	"linux/amd64 touchdetector":                   {roots: []string{"touchdetector"}},
}

// targets are those of spacktainers.yaml.
var targets = map[string]string{"linux/amd64": "x86_64_v3", "linux/arm64": "armv8.4a"}

func TestEveryShippedEnvironmentHasAnExpectation(t *testing.T) {
	var defined []string
	for _, d := range shippedEnvironments(t) {
		defined = append(defined, d.Platform+" "+d.Name)
	}
	for name := range shipped {
		if !slices.Contains(defined, name) {
			t.Errorf("%s is expected and not defined", name)
		}
	}
	for _, name := range defined {
		if len(shipped[name].roots) == 0 {
			t.Errorf("%s is defined and not expected", name)
		}
	}
}

// Real Spack has a solution for each shipped definition, with the roots and requirements of
// upstream's. It takes some ten minutes, and needs SPACKTAINERS_SPACK, a tree of Spack,
// SPACKTAINERS_SPACK_REPOS, the folders of the configured package repositories in their order, by
// colons, and a python with the module clingo (SPACKTAINERS_SPACK_PYTHON, or python3).
func TestShippedDefinitionsConcretize(t *testing.T) {
	spack := spackTree{dir: os.Getenv("SPACKTAINERS_SPACK"), repos: filepath.SplitList(os.Getenv("SPACKTAINERS_SPACK_REPOS")),
		python: cmp.Or(os.Getenv("SPACKTAINERS_SPACK_PYTHON"), "python3"), home: t.TempDir()}
	if spack.dir == "" || len(spack.repos) == 0 {
		t.Skip("needs SPACKTAINERS_SPACK and SPACKTAINERS_SPACK_REPOS")
	}
	system := spack.run(t, "arch", "--operating-system")
	for _, d := range shippedEnvironments(t) {
		t.Run(d.Platform+" "+d.Name, func(t *testing.T) {
			c, err := New(d, targets[d.Platform])
			if err != nil {
				t.Fatal(err)
			}
			if err := c.SetLock(spack.concretize(t, c, strings.TrimSpace(system))); err != nil {
				t.Fatal(err)
			}
			compare(t, c, shipped[d.Platform+" "+d.Name])
		})
	}
}

func shippedEnvironments(t *testing.T) (environments []definition.Definition) {
	t.Helper()
	defs, err := definition.Load("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range defs {
		if d.Kind == definition.Environment {
			environments = append(environments, d)
		}
	}
	return environments
}

func compare(t *testing.T, c Container, want expectation) {
	t.Helper()
	var roots []string
	for _, hash := range c.Roots {
		roots = append(roots, c.Lock.Specs[hash].Name)
	}
	slices.Sort(roots)
	if !slices.Equal(roots, want.roots) {
		t.Errorf("roots are %q, want %q", roots, want.roots)
	}
	for _, spec := range c.Lock.Specs {
		if slices.Contains(want.absent, spec.Name) {
			t.Errorf("%s is there", spec)
		}
		if requirement, ok := want.has[spec.Name]; ok && !has(spec, requirement) {
			t.Errorf("%s is not %s: %v", spec, requirement, spec.Parameters)
		}
		if !spec.External && spec.Target != c.Target {
			t.Errorf("%s is for %s, not for %s", spec, spec.Target, c.Target)
		}
	}
	t.Logf("%s %s, %d specs", c, c.Version, len(c.Lock.Specs))
}

func has(spec *buildcache.Spec, requirement string) bool {
	if version, ok := strings.CutPrefix(requirement, "@"); ok {
		return spec.Version == version
	}
	name, value, _ := strings.Cut(requirement, "=")
	return fmt.Sprint(spec.Parameters[name]) == value
}

// A spackTree runs Spack with a configuration of its own.
type spackTree struct {
	dir, python, home string
	repos             []string
}

func (s spackTree) run(t *testing.T, args ...string) string {
	t.Helper()
	return s.runOn(t, "", args...)
}

// runOn is run with a folder for modules of Python, empty: none.
func (s spackTree) runOn(t *testing.T, modules string, args ...string) string {
	t.Helper()
	cmd := exec.Command(s.python, append([]string{filepath.Join(s.dir, "bin", "spack")}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+s.home, "SPACK_USER_CONFIG_PATH="+s.home+"/config", "SPACK_USER_CACHE_PATH="+s.home+"/cache", "SPACK_SYSTEM_CONFIG_PATH="+s.home+"/system", "PYTHONPATH="+modules)
	var failed strings.Builder
	cmd.Stderr = &failed
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("spack %s: %v\n%s%s", strings.Join(args, " "), err, out, failed.String())
	}
	return string(out)
}

// concretize returns the lockfile of a container, also for another architecture than this
// machine's: Spack solves for targets of the family that Python says the machine is of.
func (s spackTree) concretize(t *testing.T, c Container, system string) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "spack.yaml"), c.Spack, 0o644); err != nil {
		t.Fatal(err)
	}
	var config strings.Builder
	config.WriteString("config:\n  install_tree: {root: " + dir + "/opt}\nconcretizer:\n  reuse: false\n  targets: {host_compatible: false}\nrepos:\n")
	for _, repo := range slices.Backward(s.repos) { // the first that has a package wins
		config.WriteString("- " + repo + "\n")
	}
	config.WriteString("compilers:\n")
	for _, family := range []string{"x86_64", "aarch64"} {
		fmt.Fprintf(&config, "- compiler: {spec: gcc@=12.2.0, operating_system: %s, target: %s, modules: [], paths: {cc: /usr/bin/gcc, cxx: /usr/bin/g++, f77: /usr/bin/gfortran, fc: /usr/bin/gfortran}}\n", system, family)
	}
	scope := filepath.Join(dir, "scope")
	if err := os.Mkdir(scope, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := writeScope(scope, config.String()); err != nil {
		t.Fatal(err)
	}
	machine := map[string]string{"linux/amd64": "x86_64", "linux/arm64": "aarch64"}[c.Platform]
	modules := t.TempDir()
	if err := os.WriteFile(filepath.Join(modules, "sitecustomize.py"), fmt.Appendf(nil, "import platform\nplatform.machine = lambda: %q\n", machine), 0o644); err != nil {
		t.Fatal(err)
	}
	s.runOn(t, modules, "-C", scope, "-e", dir, "concretize")
	lock, err := os.ReadFile(filepath.Join(dir, "spack.lock"))
	if err != nil {
		t.Fatal(err)
	}
	return lock
}

// writeScope writes each section of a configuration into a file of its name.
func writeScope(dir, text string) error {
	files := map[string]string{}
	name := ""
	for line := range strings.Lines(text) {
		if section, ok := strings.CutSuffix(strings.TrimSpace(line), ":"); ok && !strings.HasPrefix(line, " ") {
			name = section
		}
		files[name] += line
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
