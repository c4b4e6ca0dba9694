package targets

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/definition"
)

// root is the folder of the repository, as seen from the one in which the program was called: "."
// or, in a folder below, "../..". Paths that a person gives are those of the current folder; paths
// in spacktainers.yaml are those of the repository.
var root = findRoot()

func findRoot() string {
	if isTest() {
		return "."
	}
	here, err := os.Getwd()
	if err != nil {
		return "."
	}
	up := "."
	for dir := here; ; dir, up = filepath.Dir(dir), filepath.Join(up, "..") {
		if dir != here && !sameOwner(here, dir) {
			return "." // what another user has put above us does not count
		}
		for _, mark := range []string{ConfigFile, definition.Folder} {
			if path := filepath.Join(dir, mark); exists(path) && (dir == here || sameOwner(here, path)) {
				return up
			}
		}
		if dir == filepath.Dir(dir) || exists(filepath.Join(dir, ".git")) {
			return "." // a repository begins here
		}
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// below makes the relative paths of the configuration those of the repository at root.
func (c *Config) below(root string) {
	if root == "." {
		return
	}
	join := func(paths ...*string) {
		for _, path := range paths {
			if *path != "" && !strings.Contains(*path, "://") && !filepath.IsAbs(*path) {
				*path = filepath.Join(root, *path)
			}
		}
	}
	joinLayout := func(image *string) {
		if dir, ok := strings.CutPrefix(*image, layoutPrefix); ok {
			join(&dir)
			*image = layoutPrefix + dir
		}
	}
	join(&c.SIFs, &c.ImageKey, &c.SIFKey, &c.Branches.Mirror)
	joinLayout(&c.BaseImage)
	for name, p := range c.Platforms {
		join(&p.Mirror)
		joinLayout(&p.BaseImage)
		c.Platforms[name] = p
	}
	for i := range c.Janitor.Roots.Locks {
		join(&c.Janitor.Roots.Locks[i])
	}
}
