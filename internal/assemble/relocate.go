package assemble

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A relocation is how a package gets another prefix, or dependencies at others,
// as Spack relocates what it installs from a build cache.
type relocation struct {
	inText     replacer        // also for sbang
	inBinaries replacer        // and links
	links      map[string]bool // those that are relocated, by path
	spliced    bool
}

// maxRelocated bounds a file that has prefixes inside: it is held in memory.
const maxRelocated = 2 << 30

// relocate makes a layer of a package that is moved or looks elsewhere for its
// dependencies. What has no room for a longer prefix is an error: the package
// would run with what is not in the image.
func (b Builder) relocate(ctx context.Context, p *payload, lock *buildcache.Lockfile, lockText []byte) error {
	files := map[string]*replacer{} // by path below the prefix
	texts, binaries := p.listed(p.distribution.Text), p.listed(p.Binaries)
	for name := range texts {
		files[name] = &p.relocation.inText
	}
	for name := range binaries {
		files[name] = &p.relocation.inBinaries
	}
	var document []byte
	if p.relocation.spliced {
		var err error
		if document, err = specDocument(p.Spec, lock, lockText); err != nil {
			return fmt.Errorf("%s: %w", p.Spec, err)
		}
	}
	made, err := b.writeLayer(func(w *tar.Writer) error {
		m := mover{payload: p, w: w, replacers: files, spec: document}
		if err := m.parents(); err != nil {
			return err
		}
		return b.readBlob(ctx, p.tarball, m.copy)
	})
	if err != nil {
		return fmt.Errorf("%s cannot be relocated: %w: install it with Spack, or build it with a longer padded_length", p.Spec, err)
	}
	p.layer = made
	for i, f := range p.Files {
		p.Files[i].Link = p.relocation.link(f.Path, f.Link)
	}
	return nil
}

// link returns where a symbolic link leads, if it is one that is relocated.
func (r *relocation) link(name, target string) string {
	if !r.links[name] {
		return target
	}
	return r.inBinaries.link(target)
}

// listed returns the files of a list by the name of their first hard link.
func (p *payload) listed(names []string) map[string]bool {
	wanted := map[string]bool{}
	for _, name := range names {
		wanted[path.Clean(name)] = true
	}
	found := map[string]bool{}
	for _, f := range p.Files {
		if !wanted[f.Path] {
			continue
		}
		if f.Same != "" {
			found[f.Same] = true
		} else {
			found[f.Path] = true
		}
	}
	return found
}

// A mover writes the entries of a package to its new prefix.
type mover struct {
	*payload
	w         *tar.Writer
	replacers map[string]*replacer // by path below the prefix
	spec      []byte               // spec.json of a spliced package; nil: the tarball's
}

// parents writes the folders above the prefix.
func (m mover) parents() error {
	var dirs []string
	for dir := path.Dir(m.Prefix); dir != "/"; dir = path.Dir(dir) {
		dirs = append(dirs, dir)
	}
	for _, dir := range slices.Backward(dirs) {
		if err := m.w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir[1:] + "/", Mode: 0o755, ModTime: epoch}); err != nil {
			return err
		}
	}
	return nil
}

// copy writes one entry of the tarball.
func (m mover) copy(header *tar.Header, body io.Reader) error {
	name := cleanName(header.Name)
	below, ok := strings.CutPrefix(name, m.At)
	if !ok || below != "" && below[0] != '/' {
		return nil // a folder above
	}
	below = strings.TrimPrefix(below, "/")
	h := tar.Header{
		Typeflag: header.Typeflag, Name: path.Join(m.Prefix, below)[1:], Mode: header.Mode & 0o777,
		Size: header.Size, ModTime: header.ModTime.Truncate(1e9),
	}
	switch header.Typeflag {
	case tar.TypeDir:
		h.Name += "/"
	case tar.TypeSymlink:
		h.Linkname = m.relocation.link(below, header.Linkname)
	case tar.TypeLink:
		h.Linkname = path.Join(m.Prefix, strings.TrimPrefix(cleanName(header.Linkname), m.At))[1:]
	}
	data, err := m.change(below, header, body)
	if err != nil {
		return fmt.Errorf("%s: %w", below, err)
	}
	if data == nil {
		if err := m.w.WriteHeader(&h); err != nil {
			return err
		}
		_, err := io.Copy(m.w, body)
		return err
	}
	h.Size = int64(len(data))
	if err := m.w.WriteHeader(&h); err != nil {
		return err
	}
	_, err = m.w.Write(data)
	return err
}

// change returns what a file holds in its new place; nil: what it did before.
func (m mover) change(below string, header *tar.Header, body io.Reader) ([]byte, error) {
	if header.Typeflag != tar.TypeReg {
		return nil, nil
	}
	if m.spec != nil && below == ".spack/spec.json" {
		return m.spec, nil
	}
	r := m.replacers[below]
	if r == nil {
		return nil, nil
	}
	if header.Size > maxRelocated {
		return nil, fmt.Errorf("%d bytes are too many to look for prefixes in", header.Size)
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	if r == &m.relocation.inText {
		return r.text(data), nil
	}
	return data, errors.Join(r.relocateELF(data), r.binary(data))
}

// cleanName is the name of an entry without what may stand around it.
func cleanName(name string) string { return strings.TrimSuffix(strings.TrimPrefix(name, "./"), "/") }

// specDocument is the spec.json of a spliced package: its own DAG, that of the
// original behind it, as the lockfile has them. Spack writes it anew too.
func specDocument(spec *buildcache.Spec, lock *buildcache.Lockfile, lockText []byte) ([]byte, error) {
	nodes, err := rawNodes(lockText)
	if err != nil {
		return nil, err
	}
	var list []json.RawMessage
	seen := map[buildcache.Hash]bool{}
	var visit func(buildcache.Hash) error
	visit = func(hash buildcache.Hash) error {
		if seen[hash] {
			return nil
		}
		seen[hash] = true
		s, raw := lock.Specs[hash], nodes[hash]
		if s == nil || raw == nil {
			return fmt.Errorf("the lockfile has no node %s", hash)
		}
		list = append(list, raw)
		if s.BuildSpec != "" {
			if err := visit(s.BuildSpec); err != nil {
				return err
			}
		}
		deps := slices.Clone(s.Dependencies)
		slices.SortStableFunc(deps, func(a, b buildcache.Dependency) int { return strings.Compare(a.Name, b.Name) })
		for _, dep := range deps {
			if err := visit(dep.Hash); err != nil {
				return err
			}
		}
		return nil
	}
	if err := visit(spec.Hash); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	err = e.Encode(map[string]any{"spec": struct {
		Meta  map[string]int    `json:"_meta"`
		Nodes []json.RawMessage `json:"nodes"`
	}{map[string]int{"version": lock.SpecfileVersion}, list}})
	return bytes.TrimSpace(out.Bytes()), err
}

// rawNodes returns the nodes of a lockfile and of the environments that it
// includes, as they are written.
func rawNodes(lockText []byte) (map[buildcache.Hash]json.RawMessage, error) {
	type environment struct {
		Specs    map[buildcache.Hash]json.RawMessage `json:"concrete_specs"`
		Included map[string]json.RawMessage          `json:"include_concrete"`
	}
	nodes := map[buildcache.Hash]json.RawMessage{}
	for queue := []json.RawMessage{lockText}; len(queue) > 0; queue = queue[1:] {
		var e environment
		if err := json.Unmarshal(queue[0], &e); err != nil {
			return nil, err
		}
		for hash, raw := range e.Specs {
			nodes[hash] = raw
		}
		for _, included := range e.Included {
			queue = append(queue, included)
		}
	}
	return nodes, nil
}
