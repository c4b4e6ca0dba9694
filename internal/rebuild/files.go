package rebuild

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A file is what counts of one: its kind, permissions and content. Times and owners do not.
type file struct {
	kind    byte // tar's type flag: '0' file, '2' link, '5' folder
	mode    int64
	link    string
	content [sha256.Size]byte
	loaded  [sha256.Size]byte // of a program or library: what is loaded of it, symbols aside; else zero
	size    int64
}

// stripped reports whether a program or library is another one without its symbols.
func (f file) stripped(whole file) bool {
	return f.content != whole.content && f.loaded != [sha256.Size]byte{} && f.loaded == whole.loaded && f.size < whole.size
}

// differs names what is not the same; "" if all is.
func (f file) differs(g file) string {
	switch {
	case f.kind != g.kind:
		return "another kind of file"
	case f.link != g.link:
		return "another target of the link"
	case f.content != g.content && !f.stripped(g):
		return "another content"
	case f.kind != tar.TypeSymlink && f.mode != g.mode:
		return fmt.Sprintf("mode %o, in the cache %o", f.mode, g.mode)
	}
	return ""
}

// files are those of packages, by the prefix of each (opt/software/zlib-1.3-HASH) and the path below it.
type files map[string]map[string]file

// prefixes are those of a package. More than one is strange: who looks at one does not see the other.
func (f files) prefixes(h buildcache.Hash) (all []string) {
	for prefix := range f {
		if strings.HasSuffix(prefix, "-"+string(h)) {
			all = append(all, prefix)
		}
	}
	slices.Sort(all)
	return all
}

func (f files) put(prefix, name string, one file) {
	if f[prefix] == nil {
		f[prefix] = map[string]file{}
	}
	f[prefix][name] = one
}

// Bounds of what is read of an archive.
const (
	maxEntries = 4 << 20
	maxBytes   = 1 << 40 // unpacked
)

// below splits a path where a folder ends in a dash and the hash of a package: the prefixes of Spack
// do, whatever the install tree is.
func below(name string, wanted map[buildcache.Hash]bool) (prefix, rest string, ok bool) {
	const hashLen = 32
	for at := 0; at < len(name); {
		end := strings.IndexByte(name[at:], '/')
		if end < 0 {
			end = len(name) - at
		}
		folder := name[at : at+end]
		if n := len(folder) - hashLen; n > 1 && folder[n-1] == '-' && wanted[buildcache.Hash(folder[n:])] {
			return name[:at+end], strings.TrimPrefix(name[at+end:], "/"), true
		}
		at += end + 1
	}
	return "", "", false
}

// clean makes a tar entry's name a plain path.
func clean(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

// read adds the files of packages in a layer or a tarball. In a layer whiteouts remove what the layers
// below have.
func (f files) read(ctx context.Context, r io.Reader, wanted map[buildcache.Hash]bool) error {
	archive := tar.NewReader(io.LimitReader(r, maxBytes))
	for n := 0; ; n++ {
		header, err := archive.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil && n == maxEntries {
			err = errors.New("too many files")
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		name := clean(header.Name)
		if dir, base := path.Split(name); strings.HasPrefix(base, ".wh.") {
			if base == ".wh..wh..opq" {
				f.remove(path.Clean(dir), true)
			} else {
				f.remove(path.Join(dir, strings.TrimPrefix(base, ".wh.")), false)
			}
			continue
		}
		prefix, rest, ok := below(name, wanted)
		if !ok || rest == "" {
			if header.Typeflag != tar.TypeDir { // what takes the place of a folder hides what is in it
				f.remove(name, false)
			}
			continue
		}
		one := file{kind: header.Typeflag, mode: header.Mode & 0o7777}
		switch header.Typeflag {
		case tar.TypeReg:
			if one.size = header.Size; one.size > 0 {
				if one.content, one.loaded, err = sums(archive); err != nil {
					return err
				}
			}
		case tar.TypeSymlink:
			one.link = header.Linkname
		case tar.TypeLink: // it is the file that it leads to
			to, there, _ := below(clean(header.Linkname), wanted)
			if one, ok = f[to][there]; !ok {
				return fmt.Errorf("%q is a hard link to what is not there", name)
			}
		case tar.TypeDir:
		default:
			return fmt.Errorf("%q is neither a file nor a folder nor a link", name)
		}
		f.put(prefix, rest, one)
	}
}

// remove removes a file or a folder of the layers below, with all that is in it, or that alone.
func (f files) remove(gone string, contents bool) {
	for prefix, all := range f {
		if prefix == gone || strings.HasPrefix(prefix, gone+"/") {
			delete(f, prefix)
			continue
		}
		rest, inside := strings.CutPrefix(gone, prefix+"/")
		if !inside {
			continue
		}
		for name := range all {
			if name == rest && !contents || strings.HasPrefix(name, rest+"/") {
				delete(all, name)
			}
		}
	}
}

// imageFiles are the files of packages as a container sees them.
func imageFiles(ctx context.Context, img v1.Image, wanted map[buildcache.Hash]bool) (files, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	all := files{}
	for i, layer := range layers {
		r, err := layer.Uncompressed()
		if err == nil {
			err = errors.Join(all.read(ctx, r, wanted), r.Close())
		}
		if err != nil {
			return nil, fmt.Errorf("layer %d: %w", i+1, err)
		}
	}
	return all, nil
}
