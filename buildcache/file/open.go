package file

import (
	"fmt"
	"os"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Open returns the store that a file:///path URL or a bare path names. It is
// an error if that is no folder.
func Open(name string) (*Store, error) {
	at, err := buildcache.ParseLocation(name, "")
	if err != nil {
		return nil, err
	}
	if at.IsBucket() {
		return nil, fmt.Errorf("build cache %q: not a folder", name)
	}
	dir := at.Folder
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("build cache %q: %w", name, err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("build cache %q: not a folder", name)
	}
	return New(dir), nil
}
