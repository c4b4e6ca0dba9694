package assemble

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/container"
	"github.com/openbraininstitute/spacktainers/internal/views"
)

// epoch is the time of everything we write ourselves, as Spack has it in its
// tarballs.
var epoch = time.Unix(0, 0)

// A topLayer is the layer above the packages: the views, the environment, the
// lockfile and the definition's files. It is planned whole before any of it is
// written, since no unpacker takes an entry twice.
type topLayer struct {
	base    baseLayers
	entries map[string]topEntry // by path, without slashes around
}

type topEntry struct {
	header tar.Header
	text   []byte    // of a file of ours
	source string    // of a file of the definition
	copy   *fileCopy // of a file of a view
	from   string    // what put it here, for sentences
}

// planTop decides what the layer holds. Owner, times and order depend on the
// input alone.
func planTop(c Container, base baseLayers, packages []payload, trees []viewTree, env []variable) (*topLayer, error) {
	t := &topLayer{base: base, entries: map[string]topEntry{}}
	for _, tree := range trees {
		if err := t.view(tree); err != nil {
			return nil, err
		}
	}
	t.text(environmentDir+"/spack.lock", 0o644, c.LockText)
	t.text(profileScript, 0o644, []byte(profile(env, c.Env)))
	if base.shell {
		t.text(entrypoint, 0o755, []byte(entrypointScript))
		for _, at := range sbangs(packages) {
			t.text(at, 0o755, []byte(sbang))
		}
	}
	for _, f := range c.Files {
		if err := t.copy(f); err != nil {
			return nil, fmt.Errorf("files: %w", err)
		}
	}
	return t, nil
}

// view enters a view. Its root may be in a folder of the base image, and is
// nothing that is there already.
func (t *topLayer) view(tree viewTree) error {
	root, err := t.base.resolve(tree.Root)
	if err != nil {
		return fmt.Errorf("view %s: %w", tree.Root, err)
	}
	if within("/"+root, InstallTree) || within(InstallTree, "/"+root) {
		return fmt.Errorf("view %s: the packages lie there: give it another root", tree.Root)
	}
	for _, ours := range []string{environmentDir + "/spack.lock", profileScript, entrypoint} {
		if within(ours, "/"+root) {
			return fmt.Errorf("view %s: every image puts %s there: give it another root", tree.Root, ours)
		}
	}
	if t.base.folders[root] && tree.Root != View || t.base.has(root) {
		return fmt.Errorf("view %s: the base image has something there: give it another root", tree.Root)
	}
	t.folder(root)
	for _, e := range tree.entries {
		name := root + "/" + e.Path
		switch e.Kind {
		case views.Dir:
			t.folder(name)
		case views.Symlink:
			t.put(name, topEntry{header: tar.Header{Typeflag: tar.TypeSymlink, Linkname: e.Link, Mode: 0o777}, from: "the view"})
		default:
			entry := topEntry{header: tar.Header{Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(e.Text))}, text: e.Text, from: "the view"}
			if e.Source != "" {
				entry.copy = tree.copyOf(e)
			}
			t.put(name, entry)
		}
	}
	return nil
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

func (t *topLayer) text(name string, mode int64, text []byte) {
	t.put(name, topEntry{header: tar.Header{Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(text))}, text: text, from: "every image"})
}

// put enters something under its name and makes the folders above it.
func (t *topLayer) put(name string, e topEntry) {
	name = strings.Trim(name, "/")
	t.folder(path.Dir("/" + name))
	e.header.Name = name
	t.entries[name] = e
}

// folder makes a folder that is not there yet. One of the base image is left
// alone: it may have a mode of its own.
func (t *topLayer) folder(name string) {
	name = strings.Trim(name, "/")
	if _, ok := t.entries[name]; ok || name == "" || t.base.folders[name] {
		return
	}
	t.put(name, topEntry{header: tar.Header{Typeflag: tar.TypeDir, Mode: 0o755}, from: "every image"})
}

// copy enters a file or folder of the definition.
func (t *topLayer) copy(f container.File) error {
	source, err := filepath.EvalSymlinks(f.Source) // it may be a link itself, not what lies below it
	if err != nil {
		return err
	}
	return filepath.WalkDir(source, func(at string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(source, at)
		if err != nil {
			return err
		}
		name, err := t.base.resolve(path.Join(f.Target, filepath.ToSlash(below)))
		if err != nil {
			return err
		}
		e := topEntry{from: at}
		switch {
		case d.IsDir():
			e.header = tar.Header{Typeflag: tar.TypeDir, Mode: 0o755}
		case d.Type() == fs.ModeSymlink:
			e.header = tar.Header{Typeflag: tar.TypeSymlink, Mode: 0o777}
			if e.header.Linkname, err = os.Readlink(at); err != nil {
				return err
			}
		default:
			info, err := d.Info()
			if err != nil {
				return err
			}
			if !info.Mode().IsRegular() {
				return fmt.Errorf("%s is no regular file", at)
			}
			e.source, e.header = at, tar.Header{Typeflag: tar.TypeReg, Mode: fileMode(info.Mode()), Size: info.Size()}
		}
		return t.add(name, e)
	})
}

// fileMode keeps of a file's mode the owner's right to execute, as git does:
// the rest depends on who cloned the repository.
func fileMode(mode fs.FileMode) int64 {
	if mode&0o100 != 0 {
		return 0o755
	}
	return 0o644
}

// add enters something of the definition's. It may take the place of a link of
// the view, and of nothing else that is in the image for a reason.
func (t *topLayer) add(name string, e topEntry) error {
	isFolder := e.header.Typeflag == tar.TypeDir
	if within("/"+name, InstallTree) || isFolder && name == "" {
		return fmt.Errorf("%s cannot be at /%s: the packages lie there", e.from, name)
	}
	for parent := path.Dir(name); parent != "."; parent = path.Dir(parent) {
		if before, ok := t.entries[parent]; ok && before.header.Typeflag != tar.TypeDir {
			return fmt.Errorf("%s cannot be at /%s: /%s, of %s, is no folder", e.from, name, parent, before.from)
		}
	}
	before, ok := t.entries[name]
	switch {
	case isFolder && (!ok || before.header.Typeflag == tar.TypeDir):
		t.folder(name)
		return nil
	case ok && (isFolder || before.header.Typeflag == tar.TypeDir || before.source != "" || before.from != "the view"):
		return fmt.Errorf("%s cannot be at /%s: %s puts something there", e.from, name, before.from)
	case !isFolder && t.base.folders[name]:
		return fmt.Errorf("%s cannot be at /%s: the base image has a folder there", e.from, name)
	}
	t.put(name, e)
	return nil
}

// write writes the layer, folders before what is in them, and what is copied of packages last.
func (t *topLayer) write(ctx context.Context, w *tar.Writer, b Builder, packages []payload) error {
	for _, name := range slices.Sorted(maps.Keys(t.entries)) {
		e := t.entries[name]
		if e.copy != nil {
			continue
		}
		h := e.header
		h.ModTime = epoch
		if h.Typeflag == tar.TypeDir {
			h.Name += "/"
		}
		if err := w.WriteHeader(&h); err != nil {
			return err
		}
		if _, err := w.Write(e.text); err != nil {
			return err
		}
		if e.source != "" {
			if err := copyFile(ctx, w, e.source); err != nil {
				return fmt.Errorf("files: %s: %w", e.source, err)
			}
		}
	}
	if err := t.writeCopies(ctx, w, b, packages); err != nil {
		return fmt.Errorf("views: %w", err)
	}
	return nil
}

func copyFile(ctx context.Context, w io.Writer, source string) error {
	file, err := os.Open(source)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(w, cancelled{ctx, file})
	return err
}

// A cancelled reader ends with its context, however much there is to read.
type cancelled struct {
	ctx context.Context
	r   io.Reader
}

func (c cancelled) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
