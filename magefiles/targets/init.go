package targets

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/atomicfile"
	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/scaffold"
	"github.com/openbraininstitute/spacktainers/internal/ui"
)

// Init makes a repository for the containers of a site in the folder DIR:
// go.mod, a magefile, configuration, a first definition, CI and a README.
func Init(ctx context.Context, dir string,
	module *string, // path of its Go module, such as github.com/ORGANISATION/REPOSITORY (default: the folder's name)
	registry *string, // where its images go, such as ghcr.io/ORGANISATION/ (default: nowhere yet)
	ci *string, // github (default), gitlab or none
	version *string, // of spacktainers to require (default: that of this program)
	dryRun *bool, // --dry-run: name the files, and write none
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	name := plainName(dir)
	site := scaffold.Site{
		Title: name, Module: or(module, name), Tool: modulePath, Registry: or(registry, ""), Arch: runtime.GOARCH, CI: or(ci, "github"),
	}
	if site.Version, site.Replace, err = required(version); err != nil {
		return err
	}
	files, err := site.Files()
	if err != nil {
		return callError{err}
	}
	if !or(dryRun, false) {
		if err := scaffold.Write(dir, files); err != nil {
			return err
		}
		if err := addPipelines(ctx, dir, site.CI); err != nil {
			return err
		}
		if err := a.tidyModule(ctx, dir); err != nil {
			return err
		}
	}
	for _, f := range files {
		if err := a.Print("%s", filepath.Join(dir, filepath.FromSlash(f.Path))); err != nil {
			return err
		}
	}
	if of := pipelineFiles[site.CI]; of != "" {
		if err := a.Print("%s", filepath.Join(dir, of)); err != nil {
			return err
		}
	}
	if !or(dryRun, false) {
		a.Log.Info("made, and ready to build", "next", "cd "+dir+"; go tool spacktainers containers:build hello")
	}
	return nil
}

// pipelineFiles are where the pipelines of a CI system are.
var pipelineFiles = map[string]string{"github": workflows, "gitlab": ".gitlab-ci.yml"}

// addPipelines has this program write the pipelines of a new repository, in which it stands for
// that.
func addPipelines(ctx context.Context, dir, ci string) error {
	if pipelineFiles[ci] == "" {
		return nil
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	path := filepath.Join(dir, pipelineFiles[ci])
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s is there already, and not written: choose --ci=none to leave it", path)
	}
	call := command.Cmd{Args: []string{program, "ci:github"}, Dir: dir}
	if ci == "gitlab" {
		call.Args = []string{program, "ci:gitlab", "--root"}
	}
	text, err := command.Output(ctx, command.Exec(nil), call)
	if err != nil {
		return fmt.Errorf("pipelines of %s: %w", ci, err)
	}
	if ci == "github" {
		return nil
	}
	return atomicfile.Write(path, []byte(text+"\n"), 0o644)
}

// tidyModule has Go find the versions of all modules, where there is a Go.
func (a *app) tidyModule(ctx context.Context, dir string) error {
	if _, err := command.LookPath("go"); err != nil {
		a.Log.Warn("no Go here: call the program spacktainers in the new folder; for mage and go tool, run go mod tidy there where Go is")
		return nil
	}
	tidy := command.Cmd{Args: []string{"go", "mod", "tidy"}, Dir: dir}
	if err := command.Exec(nil)(ctx, tidy); err != nil {
		return fmt.Errorf("the files are in %s, and Go did not find what go.mod requires: %w: once that is mended, run go mod tidy there", dir, err)
	}
	return nil
}

var (
	released  = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)
	notInName = regexp.MustCompile(`[^A-Za-z0-9._-]+`)
)

// plainName is the name of a folder, as a module may be called.
func plainName(dir string) string {
	if full, err := filepath.Abs(dir); err == nil {
		dir = full
	}
	if name := strings.Trim(notInName.ReplaceAllString(filepath.Base(dir), "-"), "-._"); name != "" {
		return name
	}
	return "containers"
}

// required is the version of this module that a new repository requires: the one that is given, else
// that of this program, else what is in the checkout where we are.
func required(given *string) (version, replace string, err error) {
	if given != nil {
		return *given, "", nil
	}
	info, _ := debug.ReadBuildInfo()
	v := versionOf(info)
	if info != nil {
		if i := slices.IndexFunc(info.Deps, func(d *debug.Module) bool { return d.Path == modulePath && d.Replace != nil }); i >= 0 {
			v.Version = "(devel)"
		}
	}
	if v.Commit == "" && released.MatchString(v.Version) {
		return v.Version, "", nil
	}
	if text, err := os.ReadFile(filepath.Join(root, "go.mod")); err == nil && strings.HasPrefix(string(text), "module "+modulePath+"\n") {
		dir, err := filepath.Abs(root)
		return "v0.0.0", ui.Line(dir), err
	}
	if released.MatchString(v.Version) {
		return v.Version, "", nil
	}
	return "", "", wrongCall("this program is no release, and here is no checkout of it: say which version to require by --version=v1.2.3")
}
