package assemble

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A File is a file or folder that a definition adds to its container.
type File struct {
	Source string // on this machine; the definition's checks have kept it below spacktainer/
	Target string // absolute, in the container
}

// writeTop writes the layer above the packages: the view, the environment, the
// lockfile and the definition's files. Owner, times and order depend on the
// input alone.
func writeTop(w *tar.Writer, c Container, g ground, packages []payload, entries []viewEntry) error {
	top := topLayer{w: w, folders: map[string]bool{"": true}}
	for _, folder := range g.Folders {
		top.folders[folder] = true
	}
	for _, e := range entries {
		name := View + "/" + e.Path
		if e.Target == "" {
			top.folder(name)
		} else {
			top.link(name, e.Target)
		}
	}
	top.folder(View) // also where no package has a file
	top.file(environmentDir+"/spack.lock", 0o644, c.LockText)
	top.file(profileScript, 0o644, []byte(profile(c.Env)))
	if g.Shell {
		top.file(entrypoint, 0o755, []byte(entrypointScript))
		for _, at := range sbangs(packages) {
			top.file(at, 0o755, []byte(sbang))
		}
	}
	for _, f := range c.Files {
		top.copy(f)
	}
	return top.err
}

// sbangs returns the paths at which the packages' scripts look for sbang.
func sbangs(packages []payload) []string {
	var found []string
	for _, p := range packages {
		if at := path.Clean(p.Sbang); within(at, InstallTree) && at != InstallTree {
			found = append(found, at)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// topLayer writes entries with their parent folders; after the first error it
// writes no more.
type topLayer struct {
	w       *tar.Writer
	folders map[string]bool // that are there, without slashes around
	err     error
}

// epoch is the time of everything we write ourselves, as Spack has it in its
// tarballs.
var epoch = time.Unix(0, 0)

func (t *topLayer) write(h tar.Header, body io.Reader) {
	if t.err != nil {
		return
	}
	h.Name = strings.Trim(h.Name, "/")
	if parent := path.Dir("/" + h.Name); parent != "/" {
		t.folder(parent)
	}
	if h.Typeflag == tar.TypeDir {
		t.folders[h.Name] = true
		h.Name += "/"
	}
	h.ModTime = epoch
	if t.err == nil {
		t.err = t.w.WriteHeader(&h)
	}
	if t.err == nil && body != nil {
		_, t.err = io.Copy(t.w, body)
	}
}

// folder makes a folder that is not there yet. One of the base image is left
// alone: it may be a link, or have a mode of its own.
func (t *topLayer) folder(name string) {
	if name = strings.Trim(name, "/"); !t.folders[name] {
		t.write(tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}, nil)
	}
}

func (t *topLayer) link(name, target string) {
	t.write(tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, nil)
}

func (t *topLayer) file(name string, mode int64, data []byte) {
	t.write(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(data))}, strings.NewReader(string(data)))
}

// copy adds a file or folder of this machine. Of its mode only the right to
// execute is kept: the rest depends on who cloned the repository.
func (t *topLayer) copy(f File) {
	err := filepath.WalkDir(f.Source, func(source string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(f.Source, source)
		if err != nil {
			return err
		}
		name := path.Join(f.Target, filepath.ToSlash(below))
		switch {
		case d.IsDir():
			t.folder(name)
		case d.Type() == fs.ModeSymlink && below != ".":
			target, err := os.Readlink(source)
			if err != nil {
				return err
			}
			t.link(name, target)
		default:
			return t.copyFile(source, name)
		}
		return t.err
	})
	if t.err == nil && err != nil {
		t.err = fmt.Errorf("files: %w", err)
	}
}

func (t *topLayer) copyFile(source, name string) error {
	file, err := os.Open(source)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", source)
	}
	mode := int64(0o644)
	if info.Mode()&0o100 != 0 {
		mode = 0o755
	}
	t.write(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: info.Size()}, file)
	return t.err
}
