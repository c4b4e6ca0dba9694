package assemble

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// InstallTree is where Spack installs in our builders, padded behind it to 128
// characters. Programs know their libraries by these paths.
const InstallTree = "/opt/software"

// buildInfo is where a tarball of layout 2 (Spack 0.20 and newer, also in v3
// caches) says which prefixes the package was built with.
const buildInfo = ".spack/binary_distribution"

// contents is what a package's tarball holds.
type contents struct {
	Prefix   string                     `json:"prefix"`   // absolute
	Prefixes map[buildcache.Hash]string `json:"prefixes"` // that the package and its dependencies were built for
	Sbang    string                     `json:"sbang"`    // where its scripts look for sbang
	Entries  []entry                    `json:"entries"`  // below the prefix, in the order of the tarball
	Outside  []link                     `json:"outside"`  // symbolic links that leave the install tree
}

// An entry is a file, folder or link of a package.
type entry struct {
	Path string `json:"path"` // relative to the prefix
	Dir  bool   `json:"dir,omitempty"`
	Link string `json:"link,omitempty"` // of a symbolic link into the package: where it leads, relative to the prefix
}

// readContents reads an uncompressed tarball to its end and refuses whatever
// has no place in a package: its bytes become a layer of the image as they are.
func readContents(r io.Reader) (contents, error) {
	c := checker{kinds: map[string]byte{}}
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return contents{}, fmt.Errorf("tarball: %w", err)
		}
		if err := c.add(header); err != nil {
			return contents{}, err
		}
		if strings.HasSuffix(header.Name, "/"+buildInfo) {
			if err := c.readInfo(archive); err != nil {
				return contents{}, err
			}
		}
	}
	return c.finish()
}

// A checker sees the headers of a tarball one by one.
type checker struct {
	names []entry         // absolute, without the leading slash
	kinds map[string]byte // their tar types
	links []link
	info  *distribution
}

// A link is a symbolic link of a package, by its absolute name.
type link struct {
	Name   string `json:"name"`
	Target string `json:"target"` // absolute
}

// distribution is the part of .spack/binary_distribution that we use. Spack
// writes it as YAML in flow style.
type distribution struct {
	Sbang          string            `yaml:"sbang_install_path"`
	BuildPath      string            `yaml:"buildpath"`
	RelativePrefix string            `yaml:"relative_prefix"`
	HashToPrefix   map[string]string `yaml:"hash_to_prefix"`
}

func (c *checker) add(header *tar.Header) error {
	name := strings.TrimSuffix(strings.TrimPrefix(header.Name, "./"), "/")
	if header.Typeflag == tar.TypeXGlobalHeader || (name == "." || name == "") && header.Typeflag == tar.TypeDir {
		return nil
	}
	if err := checkName(name); err != nil {
		return err
	}
	if err := c.checkPlace(name, header.Typeflag); err != nil {
		return err
	}
	if err := checkRights(name, header); err != nil {
		return err
	}
	switch header.Typeflag {
	case tar.TypeDir, tar.TypeReg:
	case tar.TypeSymlink:
		target := header.Linkname
		if !path.IsAbs(target) {
			target = path.Join("/", path.Dir(name), target)
		}
		c.links = append(c.links, link{"/" + name, path.Clean(target)})
	case tar.TypeLink:
		if c.kinds[strings.TrimPrefix(header.Linkname, "./")] != tar.TypeReg {
			return fmt.Errorf("tarball: hard link %q to %q, which is no file before it", name, header.Linkname)
		}
	default:
		return fmt.Errorf("tarball: %q is of type %q: a package holds files, folders and links", name, header.Typeflag)
	}
	c.kinds[name] = header.Typeflag
	c.names = append(c.names, entry{Path: name, Dir: header.Typeflag == tar.TypeDir})
	return nil
}

// checkPlace refuses an entry that would be written through a link or a file,
// or over another entry: unpackers differ in what they make of those.
func (c *checker) checkPlace(name string, kind byte) error {
	if before, ok := c.kinds[name]; ok && (before != implied || kind != tar.TypeDir) {
		return fmt.Errorf("tarball: %q is there twice", name)
	}
	for parent := path.Dir(name); parent != "."; parent = path.Dir(parent) {
		switch before, ok := c.kinds[parent]; {
		case !ok:
			c.kinds[parent] = implied
		case before == tar.TypeDir || before == implied:
			return nil
		default:
			return fmt.Errorf("tarball: %q lies behind %q, which is no folder", name, parent)
		}
	}
	return nil
}

// implied is the kind of a folder that is not listed, or not yet, but that
// something lies in.
const implied = 'i'

// checkRights refuses what would give a program of the image rights, and what
// Spack does not write: its tarballs belong to root and have no attributes.
func checkRights(name string, header *tar.Header) error {
	switch {
	case header.Uid != 0 || header.Gid != 0:
		return fmt.Errorf("tarball: %q belongs to %d:%d, not to root", name, header.Uid, header.Gid)
	case header.Mode&0o6000 != 0:
		return fmt.Errorf("tarball: %q has mode %o: no program of an image runs with another's rights", name, header.Mode)
	}
	for key := range header.PAXRecords {
		if strings.HasPrefix(key, "SCHILY.xattr.") {
			return fmt.Errorf("tarball: %q has the attribute %s", name, strings.TrimPrefix(key, "SCHILY.xattr."))
		}
	}
	return nil
}

// checkName refuses names that would leave the package or, as whiteouts do,
// remove files of the layers below.
func checkName(name string) error {
	if strings.HasPrefix(name, "/") {
		return fmt.Errorf("tarball: absolute name %q", name)
	}
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "..":
			return fmt.Errorf("tarball: name %q leads out of the package", name)
		case part == "" || part == ".":
			return fmt.Errorf("tarball: name %q is not clean", name)
		case strings.HasPrefix(part, ".wh."):
			return fmt.Errorf("tarball: name %q would remove files of other layers", name)
		}
	}
	return nil
}

// maxInfo bounds .spack/binary_distribution, which lists every file that holds
// a path: 64 MiB are several hundred thousand of them.
const maxInfo = 64 << 20

func (c *checker) readInfo(r io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(r, maxInfo+1))
	if err != nil {
		return err
	}
	if len(text) > maxInfo {
		return fmt.Errorf("tarball: %s has more than %d bytes", buildInfo, maxInfo)
	}
	if err := yaml.Unmarshal(text, &c.info); err != nil {
		return fmt.Errorf("tarball: %s: %w", buildInfo, err)
	}
	return nil
}

// finish checks what can only be known at the end, since Spack writes the
// build information last.
func (c *checker) finish() (contents, error) {
	if c.info == nil || c.info.BuildPath == "" || c.info.RelativePrefix == "" {
		return contents{}, fmt.Errorf("tarball: no %s that names the prefix: packages of Spack before 0.20 cannot be placed", buildInfo)
	}
	prefix := path.Join(c.info.BuildPath, c.info.RelativePrefix)
	if !within(prefix, InstallTree) || prefix == InstallTree {
		return contents{}, fmt.Errorf("built for %s, and only what was built for %s can be placed without Spack", prefix, InstallTree)
	}
	out := contents{Prefix: prefix, Sbang: c.info.Sbang, Prefixes: map[buildcache.Hash]string{}}
	for hash, prefix := range c.info.HashToPrefix {
		out.Prefixes[buildcache.Hash(hash)] = prefix
	}
	inside := map[string]string{}
	for _, l := range c.links {
		if target, ok := strings.CutPrefix(l.Target, prefix+"/"); ok {
			inside[l.Name] = target
		}
	}
	for _, e := range c.names {
		name := "/" + e.Path
		switch below, ok := strings.CutPrefix(name, prefix+"/"); {
		case ok:
			out.Entries = append(out.Entries, entry{Path: below, Dir: e.Dir, Link: inside[name]})
		case e.Dir && within(prefix, name):
		default:
			return contents{}, fmt.Errorf("tarball: %q lies outside the package's prefix %s", e.Path, prefix)
		}
	}
	if len(out.Entries) == 0 {
		return contents{}, errors.New("tarball: holds no file")
	}
	for _, l := range c.links {
		if !within(l.Target, InstallTree) {
			out.Outside = append(out.Outside, l)
		}
	}
	return out, nil
}

// within says whether the clean path name is dir or lies below it.
func within(name, dir string) bool {
	return name == dir || strings.HasPrefix(name, strings.TrimSuffix(dir, "/")+"/")
}
