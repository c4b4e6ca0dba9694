package rebuild

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
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
}

// differs names what is not the same; "" if all is.
func (f file) differs(g file) string {
	switch {
	case f.kind != g.kind:
		return "another kind of file"
	case f.link != g.link:
		return "another target of the link"
	case f.content != g.content:
		return "another content"
	case f.kind != tar.TypeSymlink && f.mode != g.mode:
		return fmt.Sprintf("mode %o, in the cache %o", f.mode, g.mode)
	}
	return ""
}

// files are those of packages, by the hash of the package and the path below its prefix.
type files map[buildcache.Hash]map[string]file

func (f files) put(h buildcache.Hash, name string, one file) {
	if f[h] == nil {
		f[h] = map[string]file{}
	}
	f[h][name] = one
}

// Bounds of what is read of an archive.
const (
	maxEntries = 4 << 20
	maxBytes   = 1 << 40 // unpacked
)

// below splits a path where a folder ends in a dash and the hash of a package: the prefixes of Spack
// do, whatever the install tree is.
func below(name string, wanted map[buildcache.Hash]bool) (h buildcache.Hash, rest string, ok bool) {
	const hashLen = 32
	for at := 0; at < len(name); {
		end := strings.IndexByte(name[at:], '/')
		if end < 0 {
			end = len(name) - at
		}
		folder := name[at : at+end]
		if n := len(folder) - hashLen; n > 1 && folder[n-1] == '-' && wanted[buildcache.Hash(folder[n:])] {
			return buildcache.Hash(folder[n:]), strings.TrimPrefix(name[at+end:], "/"), true
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
			f.whiteout(dir, base, wanted)
			continue
		}
		h, rest, ok := below(name, wanted)
		if !ok || rest == "" {
			continue
		}
		one := file{kind: header.Typeflag, mode: header.Mode & 0o7777}
		switch header.Typeflag {
		case tar.TypeReg:
			sum := sha256.New()
			if _, err := io.Copy(sum, archive); err != nil {
				return err
			}
			sum.Sum(one.content[:0])
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
		f.put(h, rest, one)
	}
}

// whiteout removes a file, or all of a folder, of the layers below.
func (f files) whiteout(dir, base string, wanted map[buildcache.Hash]bool) {
	gone := dir + strings.TrimPrefix(base, ".wh.")
	if base == ".wh..wh..opq" {
		gone = strings.TrimSuffix(dir, "/")
	}
	h, rest, ok := below(gone, wanted)
	if !ok {
		return // nothing of a package; one that deletes a whole install tree has no packages to compare
	}
	for name := range f[h] {
		if rest == "" || name == rest || strings.HasPrefix(name, rest+"/") {
			delete(f[h], name)
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
