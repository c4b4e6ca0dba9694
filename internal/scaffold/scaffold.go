// Package scaffold makes the repository of a site: what it needs to build containers of its own with
// the targets, and no more. It writes into no file that is there.
package scaffold

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/openbraininstitute/spacktainers/internal/suggest"
)

//go:embed all:site
var templates embed.FS

// GoVersion is that of the go line of a site's go.mod: what the targets need at least.
const GoVersion = "1.26.0"

// CIs are the systems that a repository can be made for.
var CIs = []string{"github", "gitlab", "none"}

// A Site is what the files of a repository say.
type Site struct {
	Title    string // of the README
	Module   string // path of its Go module
	Tool     string // path of the module that has the targets
	Version  string // of that module
	Replace  string // folder that stands for it, where it is no release; may be empty
	Registry string // prefix of the images' names; may be empty
	Arch     string // of this machine: amd64 or arm64
	CI       string // of CIs, whose pipelines the targets write: the README names it
}

// Go is GoVersion, for the templates.
func (Site) Go() string { return GoVersion }

// A File is one of a repository.
type File struct {
	Path string // below its root, with slashes
	Text []byte
}

var (
	modulePath = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$`)
	prefix     = regexp.MustCompile(`^[a-z0-9][a-z0-9.:/_-]*[/-]$`)
	version    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+/-]*$`)
)

// Check refuses values that would make something else of a file than it should be.
func (s Site) Check() error {
	switch {
	case !modulePath.MatchString(s.Module):
		return fmt.Errorf("--module is %q: it is a path such as github.com/ORGANISATION/REPOSITORY", s.Module)
	case s.Registry != "" && !prefix.MatchString(s.Registry):
		return fmt.Errorf("--registry is %q: it is what stands before the containers' names and ends with / or -, such as ghcr.io/ORGANISATION/", s.Registry)
	case !version.MatchString(s.Version):
		return fmt.Errorf("--version is %q: it is v1.2.3, or the name of a branch", s.Version)
	case !slices.Contains(CIs, s.CI):
		return fmt.Errorf("unknown --ci %q: %s", s.CI, suggest.Hint(s.CI, CIs))
	}
	return nil
}

// Files are those of the repository, by path.
func (s Site) Files() (files []File, err error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	paths := map[string]string{
		"go.mod.tmpl": "go.mod", "magefile.go.tmpl": "magefile.go", "magefiles/magefile.go.tmpl": "magefiles/magefile.go", "gitignore.tmpl": ".gitignore",
		"spacktainers.yaml.tmpl": "spacktainers.yaml", "README.md.tmpl": "README.md", "definition.yaml.tmpl": "container_definitions/" + s.Arch + "/hello/spack.yaml",
	}
	for from, path := range paths {
		text, err := fs.ReadFile(templates, "site/"+from)
		if err != nil {
			return nil, err
		}
		made, err := template.New(from).Option("missingkey=error").Parse(string(text))
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		if err := made.Execute(&b, s); err != nil {
			return nil, err
		}
		files = append(files, File{path, b.Bytes()})
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return files, nil
}

// Write writes the files below dir, which it makes where it is missing. Where one of them is there
// already it writes nothing.
func Write(dir string, files []File) error {
	var there []string
	for _, f := range files {
		if _, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(f.Path))); err == nil {
			there = append(there, f.Path)
		}
	}
	if len(there) > 0 {
		return fmt.Errorf("%s has %s already: init makes a new repository, name an empty folder", dir, strings.Join(there, ", "))
	}
	for _, f := range files {
		path := filepath.Join(dir, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		_, err = file.Write(f.Text)
		if err = errors.Join(err, file.Close()); err != nil {
			return err
		}
	}
	return nil
}
