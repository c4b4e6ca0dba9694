package targets

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/inspect"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
)

// readLocks reads lockfiles by paths, globs, and folders that hold some. One of
// these that leads to none is an error: it would make packages look unused.
func readLocks(names []string) ([]rootset.Lock, error) {
	var locks []rootset.Lock
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
			lock, err := rootset.ReadLock(path, func() (io.ReadCloser, error) { return os.Open(path) })
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			locks = append(locks, lock)
		}
	}
	return locks, nil
}

// imageLocks reads the lockfiles of all images that are still published in
// some repositories. An image without one is an error, unless ignoreUnlabelled:
// nobody knows what it needs.
func (a *app) imageLocks(ctx context.Context, repositories []string, ignoreUnlabelled bool) ([]rootset.Lock, error) {
	if len(repositories) == 0 {
		return nil, nil
	}
	client, end, err := a.registryClient(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	var locks []rootset.Lock
	for _, text := range repositories {
		repository, err := client.Repository(text)
		if err != nil {
			return nil, callError{fmt.Errorf("image repository %q: %w", text, err)}
		}
		found, err := inspect.Locks(ctx, client, repository, ignoreUnlabelled)
		if err != nil {
			return nil, err
		}
		for _, lock := range found {
			at := fmt.Sprintf("%s:%s for %s", repository, lock.Tags[0], lock.Platform)
			if lock.Text == nil {
				a.Log.Warn("no lockfile is attached: what it needs does not count", "image", at)
				continue
			}
			root, err := rootset.ParseLock(at, lock.Text)
			if err != nil {
				return nil, fmt.Errorf("lockfile of %s: %w", at, err)
			}
			locks = append(locks, root)
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
