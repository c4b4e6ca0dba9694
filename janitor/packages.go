package janitor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Packages are the packages that repositories have, by their folded names.
type Packages map[string]bool

// ReadPackages lists package repositories: folders with a repo.yaml (Spack
// before 1.0 or since), or ones below which such folders lie. One that holds
// no package is an error: it would make every spec stale.
func ReadPackages(dirs ...string) (Packages, error) {
	all := Packages{}
	for _, dir := range dirs {
		repos := 0
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() && d.Name() == "repo.yaml" {
				repos++
				return all.addRepo(filepath.Dir(path))
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("package repository: %w", err)
		}
		if repos == 0 {
			return nil, fmt.Errorf("package repository %s: %w: no repo.yaml in it or below, and without packages every spec would be stale", dir, ErrRefused)
		}
	}
	return all, nil
}

func (p Packages) addRepo(dir string) error {
	recipes, err := filepath.Glob(filepath.Join(dir, "packages", "*", "package.py"))
	if err != nil {
		return err
	}
	if len(recipes) == 0 {
		return fmt.Errorf("%s: %w: no packages/*/package.py below a repo.yaml", dir, ErrRefused)
	}
	for _, recipe := range recipes {
		p[fold(filepath.Base(filepath.Dir(recipe)))] = true
	}
	return nil
}

// Has reports whether a repository has a package.
func (p Packages) Has(name string) bool { return p[fold(name)] }

// fold makes one of the names of a package: py-numpy is in the folder
// py_numpy since Spack 1.0, and 3proxy in _3proxy.
func fold(name string) string {
	return strings.TrimPrefix(strings.ReplaceAll(name, "_", "-"), "-")
}
