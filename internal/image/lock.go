package image

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/openbraininstitute/spacktainers/internal/filelock"
)

// lockFolder keeps a second process from writing the same image.
func lockFolder(home, slug string) (unlock func(), err error) {
	root, err := os.OpenRoot(home)
	if err != nil {
		return nil, err
	}
	l, err := filelock.Try(root, "."+slug+".busy")
	switch {
	case errors.Is(err, filelock.ErrHeld):
		err = fmt.Errorf("%s is being built by another process: wait for it", filepath.Join(home, slug))
	case err != nil:
		err = fmt.Errorf("%s: %w", home, err) // which alone names the file, and no folder
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return func() {
		l.Close()
		root.Close()
	}, nil
}
