package gateway

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// What a tarball of a package may be at most.
const (
	maxEntries = 5 << 20
	maxRatio   = 200       // of unpacked to packed
	freeBytes  = 256 << 20 // that are too few to be worth a ratio
)

// checkArchive reads a tarball to its end. All that is in it must be below one folder, which is
// named for the package; what is above that folder are folders. Each name comes once, and is a
// file, a folder, a link, or a hard link to what came before.
func checkArchive(r io.Reader, size int64, spec *buildcache.Spec) error {
	unzipped, err := gzip.NewReader(r)
	if err != nil {
		return err
	}
	bound := &bound{r: unzipped, left: freeBytes + maxRatio*size}
	archive := tar.NewReader(bound)
	c := contents{spec: spec, seen: map[string]byte{}, left: bound.left}
	for {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = c.add(header)
		}
		if err != nil {
			return err
		}
	}
	if err := onlyZeros(bound); err != nil {
		return err
	}
	if c.prefix == "" {
		return fmt.Errorf("nothing in it is below a folder that is named for %s", spec)
	}
	return nil
}

// onlyZeros reads what follows the end of an archive, also to check the sum of gzip: tar pads with
// zeros, and a second archive would be seen by some readers and not by others.
func onlyZeros(r io.Reader) error {
	buffer := make([]byte, 32<<10)
	for {
		n, err := r.Read(buffer)
		if bytes.ContainsFunc(buffer[:n], func(r rune) bool { return r != 0 }) {
			return errors.New("something follows its end")
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Contents are the entries of a tarball so far.
type contents struct {
	spec   *buildcache.Spec
	prefix string // the package's folder
	seen   map[string]byte
	left   int64 // bytes that files may still say that they have: a sparse one has few in the archive
}

func (c *contents) add(h *tar.Header) error {
	name := strings.TrimSuffix(h.Name, "/")
	switch {
	case len(c.seen) >= maxEntries:
		return fmt.Errorf("more than %d entries", maxEntries)
	case name == "" || path.Clean(name) != name || path.IsAbs(name) || name == ".." || strings.HasPrefix(name, "../"),
		strings.ContainsFunc(h.Name+h.Linkname, func(r rune) bool { return r < 0x20 || r == 0x7f }):
		return fmt.Errorf("%q is no clean relative path", h.Name)
	case c.seen[name] != 0:
		return fmt.Errorf("%q is in it twice", h.Name)
	}
	c.seen[name] = h.Typeflag
	if c.prefix == "" && h.Typeflag == tar.TypeDir {
		return c.addAbove(name)
	}
	if c.prefix == "" || !strings.HasPrefix(name, c.prefix+"/") {
		return fmt.Errorf("%q is not below the package's own folder", h.Name)
	}
	for parent := path.Dir(name); parent != c.prefix; parent = path.Dir(parent) {
		if kind, ok := c.seen[parent]; ok && kind != tar.TypeDir {
			return fmt.Errorf("%q is below what is no folder", h.Name)
		}
	}
	if c.left -= h.Size; c.left < 0 || h.Size < 0 {
		return errTooMuch
	}
	return c.addInside(h)
}

// addAbove takes a folder that leads to the package's, or that is it.
func (c *contents) addAbove(name string) error {
	if !strings.Contains(path.Base(name), string(c.spec.Hash[:7])) {
		return nil
	}
	c.prefix = name
	for above := range c.seen {
		if above != name && !strings.HasPrefix(name, above+"/") {
			return fmt.Errorf("%q does not lead to the package's own folder", above)
		}
	}
	return nil
}

func (c *contents) addInside(h *tar.Header) error {
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeDir, tar.TypeSymlink:
		return nil
	case tar.TypeLink:
		if c.seen[h.Linkname] == tar.TypeReg || c.seen[h.Linkname] == tar.TypeLink || c.seen[h.Linkname] == tar.TypeSymlink {
			return nil
		}
		return fmt.Errorf("%q is a hard link to %q, which did not come before", h.Name, h.Linkname)
	}
	return fmt.Errorf("%q is neither a file nor a folder nor a link", h.Name)
}

var errTooMuch = errors.New("it unpacks to far more than a package does")

// A bound ends in an error where more comes out of an archive than can be right.
type bound struct {
	r    io.Reader
	left int64
}

func (b *bound) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n, errTooMuch
	}
	return n, err
}
