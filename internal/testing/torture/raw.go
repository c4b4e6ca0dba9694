package torture

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"strings"
	"sync"
)

// What the oracle reads of raw objects. What it cannot read is nil.

// A rawSpec is what a spec file or spec blob says of its spec: nodes[0].
type rawSpec struct {
	hash  string
	needs map[string]bool // hashes of what it needs to run; externals too
}

// A rawManifest is the blobs that a manifest names.
type rawManifest struct {
	blobs []string // keys
	spec  string   // key of the blob with the spec, or index
}

// named returns the keys of the blobs; of what cannot be read, none.
func (m *rawManifest) named() []string {
	if m == nil {
		return nil
	}
	return m.blobs
}

// A reading is an object's content, understood in one of three ways.
type reading struct {
	spec     *rawSpec
	manifest *rawManifest
	index    map[string]bool // hashes that an index has as cached
}

var readings sync.Map // ETag and kind → reading: the same bytes come again and again

func read(o *object, as string) reading {
	if as != "index" {
		if r, ok := readings.Load(as + o.etag); ok {
			return r.(reading)
		}
	}
	var r reading
	switch as {
	case "spec":
		r.spec = readSpec(unsigned(o.body))
	case "specblob":
		if z, err := gzip.NewReader(bytes.NewReader(o.body)); err == nil {
			if text, err := io.ReadAll(z); err == nil {
				r.spec = readSpec(text)
			}
		}
	case "manifest":
		r.manifest = readManifest(unsigned(o.body))
	case "index":
		r.index = readIndex(o.body)
	}
	if as != "index" {
		readings.Store(as+o.etag, r)
	}
	return r
}

// unsigned takes a text out of its signature, which is not looked at.
func unsigned(text []byte) []byte {
	if !bytes.HasPrefix(text, []byte("-----BEGIN")) {
		return text
	}
	from, to := bytes.IndexByte(text, '{'), bytes.LastIndex(text, []byte("-----BEGIN PGP SIGNATURE"))
	if from < 0 || to < from {
		return nil
	}
	return text[from:to]
}

func readSpec(text []byte) *rawSpec {
	var file struct {
		Spec struct {
			Nodes []struct {
				Hash         string
				Dependencies []struct {
					Hash       string
					Parameters struct{ Deptypes []string }
				}
			}
		}
	}
	if json.Unmarshal(text, &file) != nil || len(file.Spec.Nodes) == 0 {
		return nil
	}
	root := file.Spec.Nodes[0]
	s := &rawSpec{hash: root.Hash, needs: map[string]bool{}}
	for _, d := range root.Dependencies {
		if types := strings.Join(d.Parameters.Deptypes, " "); strings.Contains(types, "link") || strings.Contains(types, "run") {
			s.needs[d.Hash] = true
		}
	}
	return s
}

func readManifest(text []byte) *rawManifest {
	var file struct {
		Data []struct{ MediaType, Checksum string }
	}
	if json.Unmarshal(text, &file) != nil || file.Data == nil {
		return nil
	}
	m := &rawManifest{}
	for _, b := range file.Data {
		if len(b.Checksum) != 64 {
			return nil
		}
		m.blobs = append(m.blobs, blobPath(b.Checksum))
		if strings.Contains(b.MediaType, "spack.spec") || strings.Contains(b.MediaType, "spack.db") {
			m.spec = blobPath(b.Checksum)
		}
	}
	return m
}

func readIndex(text []byte) map[string]bool {
	var file struct {
		Database struct {
			Installs map[string]struct {
				InBuildcache bool `json:"in_buildcache"`
			}
		}
	}
	if json.Unmarshal(text, &file) != nil || file.Database.Installs == nil {
		return nil
	}
	cached := map[string]bool{}
	for hash, record := range file.Database.Installs {
		if record.InBuildcache {
			cached[hash] = true
		}
	}
	return cached
}

// readRootSet returns the hashes in a root set, and for how long it is in force.
func readRootSet(text []byte) (set map[string]bool, seconds int64) {
	var file struct {
		For     int64
		Origins []struct{ Specs []string }
	}
	if json.Unmarshal(text, &file) != nil {
		return nil, 0
	}
	set = map[string]bool{}
	for _, o := range file.Origins {
		for _, h := range o.Specs {
			set[h] = true
		}
	}
	return set, file.For
}
