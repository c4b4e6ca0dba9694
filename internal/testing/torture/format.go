package torture

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
)

// The texts that Spack writes. All is spelled out: field order, token per line, and what is left
// out.

const (
	arch     = "linux-debian12-x86_64_v3"
	compiler = "gcc-12.2.0"
)

// node returns a spec as indexes, spec files and lockfiles hold it: version 4 has a compiler,
// version 5 annotations.
func (s *Spec) node(version int) []byte {
	return s.text(fmt.Sprint("node", version), func() []byte {
		var b strings.Builder
		fmt.Fprintf(&b, `{"name":%q,"version":%q,"arch":{"platform":"linux","platform_os":"debian12","target":"x86_64_v3"},`, s.Name, s.Version)
		if version == 4 {
			b.WriteString(`"compiler":{"name":"gcc","version":"12.2.0"},`)
		}
		b.WriteString(`"namespace":"builtin","parameters":{"build_system":"generic","cflags":[],"ldlibs":[]},`)
		if s.External {
			b.WriteString(`"external":{"path":"/usr","module":null,"extra_attributes":{}},`)
		}
		fmt.Fprintf(&b, `"package_hash":"%s===="`, strings.Repeat(s.Hash, 2)[:52])
		for i, e := range s.Deps {
			b.WriteString([]string{",", `,"dependencies":[`}[btoi(i == 0)])
			fmt.Fprintf(&b, `{"name":%q,"hash":%q,"parameters":{"deptypes":["%s"],"virtuals":[]}}`, e.On.Name, e.On.Hash, strings.Join(e.Types, `","`))
		}
		if len(s.Deps) > 0 {
			b.WriteString("]")
		}
		if version == 5 {
			b.WriteString(`,"annotations":{"original_specfile_version":5}`)
		}
		fmt.Fprintf(&b, `,"hash":%q}`, s.Hash)
		return []byte(b.String())
	})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// nodes returns the nodes of specs, one behind the other.
func nodes(specs []*Spec, version int) []byte {
	var texts [][]byte
	for _, s := range specs {
		texts = append(texts, s.node(version))
	}
	return bytes.Join(texts, []byte(","))
}

// tarball returns what stands for the package. What is in it is nobody's business here, besides
// that some specs have the same: their blobs are shared.
func (s *Spec) tarball() []byte {
	return s.text("tarball", func() []byte {
		content := "files of " + s.Hash
		if s.Hash[0] < 'f' {
			content = "files of all that begins with " + s.Hash[:1]
		}
		return zip([]byte(content))
	})
}

// dag returns the spec first, then all that it needs.
func (s *Spec) dag() []*Spec {
	all := closure([]*Spec{s}, true)
	return append([]*Spec{s}, all[:len(all)-1]...)
}

// specFile returns a spec file of layout v2, signed or not.
func (s *Spec) specFile(signed bool) []byte {
	return s.text(fmt.Sprint("specfile", signed), func() []byte {
		text := fmt.Sprintf(`{"spec":{"_meta":{"version":4},"nodes":[%s]},"buildcache_layout_version":2,"binary_cache_checksum":{"hash_algorithm":"sha256","hash":%q}}`,
			nodes(s.dag(), 4), digest(s.tarball()))
		return sign(lines(text), signed)
	})
}

// specBlob returns the spec as layout v3 has it.
func (s *Spec) specBlob() []byte {
	return s.text("specblob", func() []byte {
		return zip(fmt.Appendf(nil, `{"spec":{"_meta":{"version":5},"nodes":[%s]},"buildcache_layout_version":2}`, nodes(s.dag(), 5)))
	})
}

// manifest returns the manifest of a spec in layout v3.
func (s *Spec) manifest(signed bool) []byte {
	return s.text(fmt.Sprint("manifest", signed), func() []byte {
		return sign(manifest(
			blob{"application/vnd.spack.install.v2.tar+gzip", "gzip", s.tarball()},
			blob{"application/vnd.spack.spec.v5+json", "gzip", s.specBlob()}), signed)
	})
}

type blob struct {
	mediaType, compression string
	content                []byte
}

func manifest(blobs ...blob) []byte {
	var parts []string
	for _, b := range blobs {
		parts = append(parts, fmt.Sprintf(`{"contentLength":%d,"mediaType":%q,"compression":%q,"checksumAlgorithm":"sha256","checksum":%q}`,
			len(b.content), b.mediaType, b.compression, digest(b.content)))
	}
	return lines(`{"version":3,"data":[` + strings.Join(parts, ",") + "]}")
}

// record returns an entry of an index, without its end.
func (s *Spec) record(version int) []byte {
	return fmt.Appendf(nil, `%q:{"spec":%s,`, s.Hash, s.node(version-3))
}

// index returns a database of version 7 or 8 that has specs as cached, and all that they need.
func index(cached []*Spec, version int) []byte {
	inCache := map[*Spec]bool{}
	for _, s := range cached {
		inCache[s] = true
	}
	all := closure(cached, true)
	refs := map[*Spec]int{}
	for _, s := range all {
		for _, e := range s.Deps {
			refs[e.On]++
		}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"database":{"version":"%d","installs":{`, version)
	for i, s := range all {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(s.record(version))
		fmt.Fprintf(&b, `"ref_count":%d,"in_buildcache":%t}`, refs[s], inCache[s])
	}
	b.WriteString("}}}")
	return b.Bytes()
}

// lockfile returns the spack.lock of an environment, of version 5 or 6.
func lockfile(env Env, version int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"_meta":{"file-type":"spack-lockfile","lockfile-version":%d,"specfile-version":%d},"spack":{"version":"0.23.0","type":"git","commit":"3c0df1a96c"},"roots":[`, version, version-1)
	for i, s := range env {
		b.WriteString([]string{"", ","}[btoi(i > 0)])
		fmt.Fprintf(&b, `{"hash":%q,"spec":"%s@%s"}`, s.Hash, s.Name, s.Version)
	}
	b.WriteString(`],"concrete_specs":{`)
	for i, s := range closure(env, true) {
		b.WriteString([]string{"", ","}[btoi(i > 0)])
		fmt.Fprintf(&b, `%q:%s`, s.Hash, s.node(version-1))
	}
	b.WriteString("}}")
	return b.Bytes()
}

// lines puts each token of a JSON text on a line, as Spack does where gpg would cut long ones.
func lines(text string) []byte {
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(text), "", ""); err != nil {
		panic(err)
	}
	return bytes.ReplaceAll(b.Bytes(), []byte(`": `), []byte(`":`))
}

// sign makes a text look clearsigned. Nobody here has a key.
func sign(text []byte, signed bool) []byte {
	if !signed {
		return text
	}
	return fmt.Appendf(nil, "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n%s\n-----BEGIN PGP SIGNATURE-----\n\niQIzBAEBCgAdFiEE\n=%s\n-----END PGP SIGNATURE-----\n", text, digest(text)[:4])
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

var zippers = sync.Pool{New: func() any { w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed); return w }}

func zip(b []byte) []byte {
	w := zippers.Get().(*gzip.Writer)
	defer zippers.Put(w)
	var out bytes.Buffer
	w.Reset(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}
