// Package reallocks reads testdata/spack/real-locks: the lockfiles of eleven shipped definitions,
// as Spack 0.23 concretized them. Only tests and measurements import it.
package reallocks

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Read returns the lockfiles by the names of their definitions. Each call reads them anew, so that
// the caller may change them.
func Read() (map[string]*buildcache.Lockfile, error) {
	texts, err := Texts()
	if err != nil {
		return nil, err
	}
	locks := map[string]*buildcache.Lockfile{}
	for name, text := range texts {
		if locks[name], err = buildcache.ParseLockfile(text); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return locks, nil
}

// Texts returns the lockfiles as they are written, by the names of their definitions.
func Texts() (map[string][]byte, error) {
	paths, err := filepath.Glob(filepath.Join(root(), "testdata", "spack", "real-locks", "*.spack.lock.gz"))
	if err != nil || len(paths) == 0 {
		return nil, fmt.Errorf("no lockfiles below %s: %w", root(), err)
	}
	texts := map[string][]byte{}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".spack.lock.gz")
		if texts[name], err = unzip(path); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return texts, nil
}

// root is the folder that holds go.mod, from where the test runs or any folder above.
func root() string {
	dir, err := os.Getwd()
	for err == nil && dir != filepath.Dir(dir) {
		if _, missing := os.Stat(filepath.Join(dir, "go.mod")); missing == nil {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	return "." // holds none: the caller gets an error
}

func unzip(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	r, err := gzip.NewReader(file)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}
