package definition

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// An Input is a file that a container is made from. Any change of any Input
// makes another container.
type Input struct {
	Path   string      // relative to the repository
	Mode   fs.FileMode // as git keeps it: 0644, 0755, a folder or a link
	SHA256 string      // of a file's content or a link's target; empty for a folder

	Included bool // the environment refers to it, so that Spack reads it
}

// Inputs lists every file that the container is made from, sorted by path: the definition, its
// epilogue, what its environment refers to, and what it copies, with hidden files and folders. The
// lockfile is not among them: its text names the commit of Spack that wrote it, so the same specs
// can stand in different lockfiles.
func (d Definition) Inputs() ([]Input, error) {
	root, err := os.OpenRoot(d.Root)
	if err != nil {
		return nil, fmt.Errorf("inputs of %s: %w", d.Name, err)
	}
	defer func() { _ = root.Close() }()
	inputs := map[string]Input{}
	add := func(dir *os.Root, prefix, name string, info fs.FileInfo, err error) error {
		if err != nil {
			return err
		}
		input, err := newInput(dir, name, info)
		input.Path = path.Join(prefix, name)
		input.Included = inputs[input.Path].Included
		inputs[input.Path] = input
		return err
	}
	for _, name := range []string{d.Path, d.EpiloguePath} {
		if name == "" {
			continue
		}
		info, err := root.Stat(name)
		if err := add(root, "", name, info, err); err != nil {
			return nil, fmt.Errorf("inputs of %s: %w", d.Name, err)
		}
	}
	var included []error
	for _, pair := range d.Included {
		walk(root, pair.Source, func(name string, info fs.FileInfo, err error) {
			included = append(included, add(root, "", name, info, err))
			if input, ok := inputs[name]; ok {
				input.Included = true
				inputs[name] = input
			}
		})
	}
	if err := errors.Join(included...); err != nil {
		return nil, fmt.Errorf("inputs of %s: %w", d.Name, err)
	}
	if len(d.Files) > 0 {
		files, err := root.OpenRoot(FilesFolder)
		if err != nil {
			return nil, fmt.Errorf("inputs of %s: %w", d.Name, err)
		}
		defer func() { _ = files.Close() }()
		var errs []error
		for _, pair := range d.Files {
			source := strings.TrimPrefix(pair.Source, FilesFolder+"/")
			walk(files, source, func(name string, info fs.FileInfo, err error) {
				errs = append(errs, add(files, FilesFolder, name, info, err))
			})
		}
		if err := errors.Join(errs...); err != nil {
			return nil, fmt.Errorf("inputs of %s: %w", d.Name, err)
		}
	}
	list := make([]Input, 0, len(inputs))
	for _, input := range inputs {
		list = append(list, input)
	}
	slices.SortFunc(list, func(a, b Input) int { return cmp.Compare(a.Path, b.Path) })
	return list, nil
}

func newInput(dir *os.Root, name string, info fs.FileInfo) (Input, error) {
	switch {
	case info.IsDir():
		return Input{Mode: fs.ModeDir | 0o755}, nil
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := dir.Readlink(name)
		sum := sha256.Sum256([]byte(target))
		return Input{Mode: fs.ModeSymlink | 0o777, SHA256: hex.EncodeToString(sum[:])}, err
	}
	f, err := dir.Open(name)
	if err != nil {
		return Input{}, err
	}
	defer func() { _ = f.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return Input{}, err
	}
	mode := fs.FileMode(0o644)  // the other bits depend on who checked out, with which umask
	if info.Mode()&0o100 != 0 { // as git sees it, and as assembling copies it
		mode = 0o755
	}
	return Input{Mode: mode, SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}
