package sif

import (
	"archive/tar"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// A tree is the root file system of an image: what its layers come to on top
// of each other. It holds names and what stands behind them, but no content.
type tree struct {
	root    *node
	layer   int            // that is being applied
	newest  time.Time      // time of change of all that was ever in it
	content int64          // declared bytes of all files that were ever in it
	memory  int64          // what it takes, about, in bytes
	dropped map[string]int // extended attributes that squashfs cannot hold, and on how many entries
}

// A node is a name. Hard links are several nodes with one inode.
type node struct {
	*inode
	children map[string]*node // of a folder
	touched  int              // last layer that wrote it, or something in it
}

// An inode is a file, folder, link or device.
type inode struct {
	header       *tar.Header // without a name; nil for a file of a layer, which is read again with its content
	body         []byte      // of a file of ours
	kind         byte        // tar's type flag
	layer, index int         // where it came from
	names        []string    // all that stand in the tree, once finish has gone through it
}

const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
	maxLinks = 40 // symbolic links on the way to one file, as Linux counts
)

func newTree() *tree {
	t := &tree{newest: time.Unix(0, 0), dropped: map[string]int{}}
	t.root = t.implied()
	return t
}

// implied is a folder that no layer describes.
func (t *tree) implied() *node {
	t.memory += nodeMemory
	return &node{
		inode:    &inode{kind: tar.TypeDir, header: &tar.Header{Typeflag: tar.TypeDir, Mode: 0o755, ModTime: time.Unix(0, 0)}, layer: t.layer, index: -1},
		children: map[string]*node{},
		touched:  t.layer,
	}
}

// apply does with an entry of a layer what a container engine does that
// unpacks the layer onto those below it.
func (t *tree) apply(index int, h *tar.Header) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil // container engines leave it out, whatever it says
	}
	if err := t.admit(h); err != nil {
		return fmt.Errorf("%.200q: %w", h.Name, err)
	}
	name := path.Clean("/" + h.Name)
	if name == "/" {
		if h.Typeflag == tar.TypeDir {
			t.root.inode = t.newInode(index, h)
		}
		return nil
	}
	dir, base := path.Split(name)
	if strings.HasPrefix(base, whiteout) {
		return t.applyWhiteout(dir, base)
	}
	parent, err := t.folder(dir, true)
	if err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	old := parent.children[base]
	switch h.Typeflag {
	case tar.TypeDir:
		if old != nil && old.kind == tar.TypeDir {
			old.inode, old.touched = t.newInode(index, h), t.layer
			return nil
		}
		parent.children[base] = &node{inode: t.newInode(index, h), children: map[string]*node{}, touched: t.layer}
	case tar.TypeLink:
		target, err := t.find(h.Linkname)
		if err != nil {
			return fmt.Errorf("%s: hard link to %s: %w", h.Name, h.Linkname, err)
		}
		if target.kind == tar.TypeDir {
			return fmt.Errorf("%s: hard link to %s, a folder", h.Name, h.Linkname)
		}
		parent.children[base] = &node{inode: target.inode, touched: t.layer}
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		parent.children[base] = &node{inode: t.newInode(index, h), touched: t.layer}
	default:
		return fmt.Errorf("%s: entry of unknown type %q", h.Name, h.Typeflag)
	}
	return nil
}

func (t *tree) newInode(index int, h *tar.Header) *inode {
	in := &inode{kind: h.Typeflag, layer: t.layer, index: index}
	if at := whole(h.ModTime); at.After(t.newest) {
		t.newest = at
	}
	switch h.Typeflag {
	case tar.TypeDir, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		in.header = tidy(h)
	default:
		in.kind = tar.TypeReg
	}
	return in
}

// applyWhiteout removes what layers below have. What this layer itself brought
// stays, wherever in the layer the whiteout stands.
func (t *tree) applyWhiteout(dir, base string) error {
	if base != opaque && strings.HasPrefix(base, whiteout+whiteout) {
		return nil // bookkeeping of aufs
	}
	parent, err := t.folder(dir, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("whiteout in %s: %w", dir, err)
	}
	if base == opaque {
		t.prune(parent)
		return nil
	}
	name := strings.TrimPrefix(base, whiteout)
	switch hidden := parent.children[name]; {
	case hidden == nil:
	case hidden.touched < t.layer:
		delete(parent.children, name)
	case hidden.kind == tar.TypeDir:
		t.prune(hidden)
	}
	return nil
}

// prune leaves in a folder only what this layer wrote.
func (t *tree) prune(n *node) {
	for name, child := range n.children {
		switch {
		case child.touched < t.layer:
			delete(n.children, name)
		case child.kind == tar.TypeDir:
			t.prune(child)
		}
	}
}

// folder returns the folder at a path, following symbolic links without
// leaving the image. With create it makes what is missing, and all that it
// goes through counts as touched.
func (t *tree) folder(dir string, create bool) (*node, error) {
	at, links := []*node{t.root}, 0
	rest := split(dir)
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		here := at[len(at)-1]
		if create {
			here.touched = t.layer
		}
		if name == ".." {
			at = at[:max(1, len(at)-1)]
			continue
		}
		next := here.children[name]
		switch {
		case next == nil && create:
			next = t.implied()
			here.children[name] = next
		case next == nil:
			return nil, fs.ErrNotExist
		case next.kind == tar.TypeSymlink:
			if links++; links > maxLinks {
				return nil, fmt.Errorf("symbolic links in a circle at %s", name)
			}
			if path.IsAbs(next.header.Linkname) {
				at = at[:1]
			}
			rest = append(split(next.header.Linkname), rest...)
			continue
		case next.kind != tar.TypeDir:
			return nil, fmt.Errorf("%s is no folder", name)
		}
		at = append(at, next)
	}
	last := at[len(at)-1]
	if create {
		last.touched = t.layer
	}
	return last, nil
}

// split returns the names of a path; ".." stays, since what it means depends
// on links.
func split(p string) []string {
	return slices.DeleteFunc(strings.Split(p, "/"), func(s string) bool { return s == "" || s == "." })
}

// find returns what stands at a path. A symbolic link at its end is what it is.
func (t *tree) find(name string) (*node, error) {
	dir, base := path.Split(path.Clean("/" + name))
	parent, err := t.folder(dir, false)
	if err != nil {
		return nil, err
	}
	if found := parent.children[base]; found != nil {
		return found, nil
	}
	return nil, fs.ErrNotExist
}

// finish gives every inode its names, and returns the inodes in the order of
// their first ones: folders before what is in them.
func (t *tree) finish() []*inode {
	var all []*inode
	var walk func(n *node, name string)
	walk = func(n *node, name string) {
		if n.names = append(n.names, name); len(n.names) == 1 {
			all = append(all, n.inode)
		}
		for _, child := range slices.Sorted(maps.Keys(n.children)) {
			walk(n.children[child], path.Join(name, child))
		}
	}
	walk(t.root, ".")
	return all
}
