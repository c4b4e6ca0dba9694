package targets

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor"
)

// readLocks reads lockfiles by paths, globs, and folders that hold some. One of
// these that leads to none is an error: it would make packages look unused.
func readLocks(names []string) ([]janitor.Lock, error) {
	var locks []janitor.Lock
	seen := map[string]bool{}
	for _, name := range names {
		paths, err := lockPaths(name)
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			if seen[path] {
				continue
			}
			seen[path] = true
			file, err := buildcache.ReadLockfile(path)
			if err != nil {
				return nil, err
			}
			locks = append(locks, janitor.Lock{Name: path, File: file})
		}
	}
	return locks, nil
}

func lockPaths(name string) ([]string, error) {
	paths, err := filepath.Glob(name)
	if err != nil {
		return nil, wrongCall("lockfiles %q: %w", name, err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("lockfiles: nothing is named %q", name)
	}
	var files []string
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("lockfiles: %w", err)
		}
		if !info.IsDir() {
			files = append(files, filepath.Clean(path))
			continue
		}
		inside, err := locksBelow(path)
		if err != nil {
			return nil, err
		}
		files = append(files, inside...)
	}
	slices.Sort(files)
	return files, nil
}

func locksBelow(dir string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && (d.Name() == "spack.lock" || strings.HasSuffix(d.Name(), ".spack.lock")) {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("lockfiles: %w", err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("lockfiles: no spack.lock or *.spack.lock in %s", dir)
	}
	return files, nil
}
