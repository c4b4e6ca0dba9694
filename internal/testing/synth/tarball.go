package synth

import (
	"archive/tar"
	"io"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// buildPath is the install tree of our builders, padded to 128 characters.
const buildPath = "/opt/software/__spack_path_placeholder__/__spack_path_placeholder__/__spack_path_placeholder__/__spack_path_placeholder__/__spac"

func (c Cache) relativePrefix(i int) string {
	dir := c.Name(i) + "-" + c.Version(i) + "-" + string(c.Hash(i))
	if c.v3() {
		return platform + "-" + target + "/" + dir
	}
	return arch + "/" + compilerDir + "/" + dir
}

// tarball returns what Spack would push as the package.
func (c Cache) tarball(i int) []byte {
	if c.PackageSize == 0 {
		return []byte("synthetic package " + string(c.Hash(i)) + "\n")
	}
	prefix := strings.TrimPrefix(buildPath, "/") + "/" + c.relativePrefix(i)
	name := c.Name(i)
	return zip(func(w io.Writer) {
		a := archive{tar.NewWriter(w), map[string]bool{}}
		a.file(prefix+"/.spack/spec.json", 0o644, c.specFile(i, ""))
		a.file(prefix+"/bin/"+name, 0o755, []byte("#!/bin/sh\necho "+name+" "+c.Version(i)+"\n"))
		a.file(prefix+"/share/"+name+"/data", 0o644, c.data(i))
		a.file(prefix+"/.spack/binary_distribution", 0o644, c.distribution(i))
		a.w.Close()
	})
}

// data returns what hardly compresses.
func (c Cache) data(i int) []byte {
	r := c.random(i, forData)
	var seed [32]byte
	for k := range seed {
		seed[k] = byte(r.Uint64())
	}
	b := make([]byte, c.PackageSize)
	io.ReadFull(rand.NewChaCha8(seed), b) // never fails
	return b
}

// distribution returns the build information: YAML in flow style.
func (c Cache) distribution(i int) []byte {
	b := []byte("{sbang_install_path: /opt/software/bin/sbang, buildpath: " + buildPath +
		", spackprefix: /opt/spack, relative_prefix: " + c.relativePrefix(i) +
		", relocate_textfiles: [], relocate_binaries: [], relocate_links: [], hardlinks_deduped: true, hash_to_prefix: {")
	built := slices.DeleteFunc(c.closure(buildcache.Runtime, i), c.External)
	for n, i := range built {
		if n > 0 {
			b = append(b, ", "...)
		}
		b = append(b, string(c.Hash(i))+": "+buildPath+"/"+c.relativePrefix(i)...)
	}
	return append(b, "}}\n"...)
}

// An archive is a tarball with root as owner and the epoch as time.
type archive struct {
	w    *tar.Writer
	dirs map[string]bool
}

func (a archive) file(name string, mode int64, body []byte) {
	a.dir(path.Dir(name))
	a.header(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(body))})
	a.w.Write(body) // fails only if header has
}

// dir enters a folder, and before it those that it is in.
func (a archive) dir(name string) {
	if name == "." || a.dirs[name] {
		return
	}
	a.dir(path.Dir(name))
	a.dirs[name] = true
	a.header(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755})
}

func (a archive) header(h *tar.Header) {
	h.ModTime = time.Unix(0, 0)
	if err := a.w.WriteHeader(h); err != nil {
		panic(err) // a buffer takes all
	}
}
