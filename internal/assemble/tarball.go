package assemble

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/views"
)

// InstallTree is where Spack installs in our builders, padded behind it to 128
// characters. Programs know their libraries by these paths.
const InstallTree = "/opt/software"

// Bounds of a tarball. Names are as long as Linux takes them; a package of two
// million files is ten times the largest that is known.
const (
	maxEntries = 2 << 20
	maxName    = 4096
	maxRecipe  = 1 << 20
)

// contents is what a package's tarball holds.
type contents struct {
	*distribution
	Files  []views.File // below the prefix, in the order of the tarball
	Recipe []byte       // the package's own package.py; nil where there is none
	At     string       // the folder of the tarball that is the prefix
}

// asIs reports whether the tarball unpacks to the prefix that it was built
// for: since Spack 0.22 (layout 2) it does. Before, it held the prefix's last
// folder alone.
func (c contents) asIs() bool { return "/"+c.At == c.prefix() }

// readContents reads an uncompressed tarball to its end and refuses whatever
// has no place in a package: its bytes become a layer of the image.
func readContents(r io.Reader, spec *buildcache.Spec) (contents, error) {
	c := checker{recipes: recipePaths(spec), index: map[string]int32{}}
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return contents{}, fmt.Errorf("tarball: %w", err)
		}
		if err := c.add(header, archive); err != nil {
			return contents{}, fmt.Errorf("tarball: %w", err)
		}
	}
	if err := onlyPadding(r); err != nil {
		return contents{}, err
	}
	return c.finish()
}

// finish checks what can only be known at the end, since Spack writes the
// build information last.
func (c *checker) finish() (contents, error) {
	if c.info == nil || c.info.Tree == "" || c.info.Relative == "" {
		return contents{}, fmt.Errorf("tarball: no %s that names the prefix: push the package again with a newer Spack", buildInfo)
	}
	prefix := c.info.prefix()
	if err := checkPrefix(prefix); err != nil {
		return contents{}, err
	}
	out := contents{distribution: c.info, Recipe: c.recipe, At: c.infoAt}
	if c.foreign != "" && out.asIs() {
		return contents{}, fmt.Errorf("tarball: %s, not to root", c.foreign)
	}
	for _, f := range c.files {
		below, ok := strings.CutPrefix(f.Path, c.infoAt+"/")
		switch {
		case ok:
			f.Path, f.Same = below, strings.TrimPrefix(f.Same, c.infoAt+"/")
			out.Files = append(out.Files, f)
		case f.Kind == views.Dir && within(c.infoAt, f.Path):
		default:
			return contents{}, fmt.Errorf("tarball: %q lies outside the package's prefix %s", f.Path, c.infoAt)
		}
	}
	return out, nil
}

// checkPrefix refuses a prefix that cannot be one.
func checkPrefix(prefix string) error {
	if !path.IsAbs(prefix) || prefix == "/" || hasControl(prefix) || len(prefix) > maxName {
		return fmt.Errorf("tarball: %s names the prefix %q", buildInfo, prefix)
	}
	return nil
}

// onlyPadding reads what follows an archive's end. Unpackers differ in whether
// they go on behind it, so there may be nothing.
func onlyPadding(r io.Reader) error {
	buffer := make([]byte, 64<<10)
	for {
		n, err := r.Read(buffer)
		for _, b := range buffer[:n] {
			if b != 0 {
				return errors.New("tarball: something follows the end of the archive")
			}
		}
		switch err {
		case nil:
		case io.EOF:
			return nil
		default:
			return fmt.Errorf("tarball: %w", err)
		}
	}
}

// A checker sees the entries of a tarball one by one.
type checker struct {
	files   []views.File     // paths as in the tarball
	index   map[string]int32 // places in files, by path; implied for folders that are not listed
	infoAt  string           // the folder above the shallowest .spack/binary_distribution
	info    *distribution
	recipes []string // how the path of the package's own recipe may end
	recipe  []byte
	foreign string // the first entry that does not belong to root
}

// implied is the place of a folder that something is in, but that is not
// listed, or not yet.
const implied = -1

func (c *checker) add(header *tar.Header, body io.Reader) error {
	name := strings.TrimSuffix(strings.TrimPrefix(header.Name, "./"), "/")
	if header.Typeflag == tar.TypeDir && (name == "." || name == "") {
		return nil
	}
	if err := checkName(name); err != nil {
		return err
	}
	if err := c.checkPlace(name, header.Typeflag); err != nil {
		return err
	}
	if err := c.checkAttributes(name, header); err != nil {
		return err
	}
	if len(c.files) == maxEntries {
		return fmt.Errorf("more than %d entries", maxEntries)
	}
	file := views.File{Path: name, Run: header.Mode&0o111 != 0}
	switch header.Typeflag {
	case tar.TypeDir:
		file.Kind = views.Dir
	case tar.TypeReg:
		bang, err := c.look(name, body)
		if err != nil {
			return err
		}
		file.Bang = bang
	case tar.TypeSymlink:
		file.Kind, file.Link = views.Symlink, header.Linkname
		if err := checkTarget(header.Linkname); err != nil {
			return fmt.Errorf("link %q: %w", name, err)
		}
	case tar.TypeLink:
		first, ok := c.regular(strings.TrimPrefix(header.Linkname, "./"))
		if !ok {
			return fmt.Errorf("hard link %q to %q, which is no file before it", name, header.Linkname)
		}
		file.Same, file.Run, file.Bang = first.Path, first.Run, first.Bang
	default:
		return fmt.Errorf("%q is of type %q: a package holds files, folders and links", name, header.Typeflag)
	}
	c.index[name] = int32(len(c.files))
	c.files = append(c.files, file)
	return nil
}

// regular returns the file that a hard link leads to: the first of its kind.
func (c *checker) regular(name string) (views.File, bool) {
	i, ok := c.index[name]
	if !ok || i == implied || c.files[i].Kind != views.Regular {
		return views.File{}, false
	}
	if first := c.files[i].Same; first != "" {
		return c.files[c.index[first]], true
	}
	return c.files[i], true
}

// look reads the files that say something about the package, and the first
// two characters of all others.
func (c *checker) look(name string, body io.Reader) (bang bool, err error) {
	if root, ok := strings.CutSuffix(name, "/"+buildInfo); ok && (c.info == nil || len(root) < len(c.infoAt)) {
		c.infoAt = root
		c.info, err = readDistribution(body)
		return false, err
	}
	if c.recipe == nil && slices.ContainsFunc(c.recipes, func(end string) bool { return strings.HasSuffix(name, end) }) {
		c.recipe, err = io.ReadAll(io.LimitReader(body, maxRecipe))
		return false, err
	}
	var first [2]byte
	n, err := io.ReadFull(body, first[:])
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return n == 2 && string(first[:]) == "#!", err
}

// checkPlace refuses an entry that would be written through a link or a file,
// or over another entry: unpackers differ in what they make of those.
func (c *checker) checkPlace(name string, kind byte) error {
	if before, ok := c.index[name]; ok && (before != implied || kind != tar.TypeDir) {
		return fmt.Errorf("%q is there twice", name)
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		switch before, ok := c.index[dir]; {
		case !ok:
			c.index[dir] = implied
		case before == implied || c.files[before].Kind == views.Dir:
			return nil
		default:
			return fmt.Errorf("%q lies behind %q, which is no folder", name, dir)
		}
	}
	return nil
}

// known are the attributes of an entry that have a meaning for a package.
// Others may hold capabilities or access lists, or make the entry sparse.
var known = map[string]bool{
	"path": true, "linkpath": true, "size": true, "mtime": true, "atime": true, "ctime": true,
	"uid": true, "gid": true, "uname": true, "gname": true, "hdrcharset": true,
}

// checkAttributes refuses what would give a program of the image rights, and
// what Spack does not write.
func (c *checker) checkAttributes(name string, header *tar.Header) error {
	if c.foreign == "" && (header.Uid != 0 || header.Gid != 0) {
		c.foreign = fmt.Sprintf("%q belongs to %d:%d", name, header.Uid, header.Gid)
	}
	if header.Mode&0o6000 != 0 {
		return fmt.Errorf("%q has mode %o: no program of an image runs with another's rights", name, header.Mode)
	}
	for key := range header.PAXRecords {
		if !known[key] {
			return fmt.Errorf("%q has the attribute %q, which a package does not need", name, key)
		}
	}
	return nil
}

// checkName refuses names that would leave the package or, as whiteouts do,
// remove files of the layers below, and those that a terminal obeys.
func checkName(name string) error {
	switch {
	case strings.HasPrefix(name, "/"):
		return fmt.Errorf("absolute name %q", name)
	case len(name) > maxName:
		return fmt.Errorf("a name of %d bytes, %q…", len(name), name[:40])
	case hasControl(name):
		return fmt.Errorf("name %q has a control character", name)
	}
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "..":
			return fmt.Errorf("name %q leads out of the package", name)
		case part == "" || part == ".":
			return fmt.Errorf("name %q is not clean", name)
		case strings.HasPrefix(part, ".wh."):
			return fmt.Errorf("name %q would remove files of other layers", name)
		}
	}
	return nil
}

// checkTarget refuses targets of links that a terminal obeys.
func checkTarget(target string) error {
	switch {
	case target == "":
		return errors.New("it leads nowhere")
	case len(target) > maxName:
		return fmt.Errorf("its target has %d bytes", len(target))
	case hasControl(target):
		return fmt.Errorf("its target %q has a control character", target)
	}
	return nil
}

// hasControl reports whether a name has control characters. Bytes that are no
// UTF-8 are none: file names of other encodings are allowed.
func hasControl(name string) bool {
	return strings.ContainsFunc(name, func(r rune) bool { return r != utf8.RuneError && unicode.IsControl(r) })
}

// recipePaths are how the path of a package's own recipe may end. Since Spack
// 1.0 its folder is named as a Python module is.
func recipePaths(spec *buildcache.Spec) []string {
	namespace := spec.Namespace[strings.LastIndexByte(spec.Namespace, '.')+1:]
	module := strings.ReplaceAll(spec.Name, "-", "_")
	return []string{
		"/" + namespace + "/packages/" + spec.Name + "/package.py",
		"/" + namespace + "/packages/" + module + "/package.py",
		"/" + namespace + "/packages/_" + module + "/package.py",
	}
}

// within reports whether the clean path name is dir or is below it.
func within(name, dir string) bool {
	return name == dir || strings.HasPrefix(name, strings.TrimSuffix(dir, "/")+"/")
}
