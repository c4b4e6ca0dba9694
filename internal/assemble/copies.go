package assemble

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/views"
)

// A fileCopy is a file of the top layer that has the content of a package's file.
type fileCopy struct {
	prefix string                       // of the package
	source string                       // its file, below the prefix
	hard   bool                         // all copies of a file that are hard are one file
	change func([]byte) ([]byte, error) // nil: the content stays
}

// A viewReplacer replaces prefixes by places in a view, in what is copied of one package. It does as Spack's view_copy,
// but for two things that Spack breaks: the path of sbang stays, which no view has, and whatever holds a NUL, such as
// compiled Python, keeps its size.
type viewReplacer struct {
	inBinaries replacer // and links
	inText     replacer
	sbang      string
}

// viewReplacers returns those for the packages of an image: each for the prefixes of its own DAG.
func viewReplacers(v views.View, lock *buildcache.Lockfile, packages []payload, installed map[buildcache.Hash]views.Package) func(*buildcache.Spec) *viewReplacer {
	made := map[buildcache.Hash]*viewReplacer{}
	payloads := map[buildcache.Hash]*payload{}
	for i := range packages {
		payloads[packages[i].Spec.Hash] = &packages[i]
	}
	return func(spec *buildcache.Spec) *viewReplacer {
		if r := made[spec.Hash]; r != nil {
			return r
		}
		var pairs []replacement
		for _, dep := range lock.Closure([]buildcache.Hash{spec.Hash}, buildcache.Build|buildcache.Link|buildcache.Run|buildcache.Test) {
			if p, ok := installed[dep.Hash]; ok {
				pairs = append(pairs, replacement{p.Prefix, v.Place(p)})
			}
		}
		p := payloads[spec.Hash]
		r := &viewReplacer{inBinaries: newReplacer(pairs), sbang: p.Sbang}
		r.inText = newReplacer(append(pairs, replacement{p.installTree(), v.Root}))
		made[spec.Hash] = r
		return r
	}
}

// change returns the content of a copy.
func (r *viewReplacer) change(data []byte) ([]byte, error) {
	if bytes.IndexByte(data, 0) >= 0 {
		return data, r.inBinaries.binary(data)
	}
	kept := 0
	if line, _, _ := bytes.Cut(data, []byte("\n")); r.sbang != "" && bytes.HasPrefix(line, []byte("#!")) && bytes.HasSuffix(line, []byte(r.sbang)) {
		kept = len(line)
	}
	return slices.Concat(data[:kept], r.inText.text(data[kept:])), nil
}

// relocateLinks lets links that are copies lead to places in the view.
func (t *viewTree) relocateLinks() {
	for i, e := range t.entries {
		if e.Kind == views.Symlink && e.Relocate {
			t.entries[i].Link = t.replacer(e.Owner).inBinaries.link(e.Link)
		}
	}
}

// copyOf describes the copy that an entry of a view is.
func (t *viewTree) copyOf(e views.Entry) *fileCopy {
	c := &fileCopy{prefix: e.Prefix, source: e.Source, hard: e.Hard}
	switch {
	case e.Relocate:
		c.change = t.replacer(e.Owner).change
	case e.From != "":
		c.change = func(data []byte) ([]byte, error) { return bytes.ReplaceAll(data, []byte(e.From), []byte(e.To)), nil }
	}
	return c
}

// writeCopies writes the files that are copies, in the order in which the packages' tarballs have them. They cannot be hard
// links to the packages' files, since those are in other layers.
func (t *topLayer) writeCopies(ctx context.Context, w *tar.Writer, b Builder, packages []payload) error {
	wanted := map[string]map[string][]string{} // names in this layer, by prefix and file
	for name, e := range t.entries {
		if c := e.copy; c != nil {
			if wanted[c.prefix] == nil {
				wanted[c.prefix] = map[string][]string{}
			}
			wanted[c.prefix][c.source] = append(wanted[c.prefix][c.source], name)
		}
	}
	for _, p := range packages {
		files := wanted[p.Prefix]
		if len(files) == 0 {
			continue
		}
		err := b.readBlob(ctx, p.Digest, func(header *tar.Header, body io.Reader) error {
			source := strings.TrimPrefix(cleanName(header.Name), p.Prefix[1:]+"/")
			names := files[source]
			delete(files, source)
			if err := t.writeCopiesOf(w, header, cancelled{ctx, body}, names); err != nil {
				return fmt.Errorf("%s of %s: %w", source, p.Spec, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for source := range files {
			return fmt.Errorf("%s has no file %s", p.Spec, source)
		}
	}
	return nil
}

// writeCopiesOf writes the copies of one file. The last one that is not a link to another may be of any size.
func (t *topLayer) writeCopiesOf(w *tar.Writer, header *tar.Header, body io.Reader, names []string) error {
	var first string // of the hard ones, which come last
	slices.SortFunc(names, func(a, b string) int {
		one, other := t.entries[a].copy, t.entries[b].copy
		if one.hard != other.hard {
			return map[bool]int{true: 1, false: -1}[one.hard]
		}
		return strings.Compare(a, b)
	})
	for i, name := range names {
		c := t.entries[name].copy
		h := tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: header.Mode & 0o777, Size: header.Size, ModTime: header.ModTime.Truncate(1e9)}
		switch {
		case first != "":
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
			if err := w.WriteHeader(&h); err != nil {
				return err
			}
			continue
		case c.hard:
			first = name
		}
		if c.change == nil && (c.hard || i == len(names)-1) {
			if err := w.WriteHeader(&h); err != nil {
				return err
			}
			if _, err := io.Copy(w, body); err != nil {
				return err
			}
			continue
		}
		if h.Size > maxRelocated {
			return fmt.Errorf("%d bytes are too many to look for prefixes in", h.Size)
		}
		data, err := io.ReadAll(body)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
		if err := c.write(w, h, bytes.Clone(data)); err != nil {
			return err
		}
	}
	return nil
}

// write writes one copy, given the content of the file.
func (c *fileCopy) write(w *tar.Writer, h tar.Header, data []byte) (err error) {
	if c.change != nil {
		if data, err = c.change(data); err != nil {
			return fmt.Errorf("%w: exclude it from the view, give that a shorter root, or leave out its link_type", err)
		}
	}
	h.Size = int64(len(data))
	if err := w.WriteHeader(&h); err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}
