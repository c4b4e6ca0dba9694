package synth

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"time"
)

// An Object is one of the objects that a mirror holds.
type Object struct {
	Key     string // relative to the mirror
	Body    []byte
	ModTime time.Time
}

// Fill calls put for all objects of the cache in the order in which Spack
// pushes them, the index last.
func (c Cache) Fill(put func(Object) error) error {
	for i := range c.Specs {
		for _, o := range c.Objects(i) {
			if err := put(o); err != nil {
				return err
			}
		}
	}
	var text bytes.Buffer
	if err := c.Index(&text); err != nil {
		return err
	}
	for _, o := range c.top(text.Bytes()) {
		if err := put(o); err != nil {
			return err
		}
	}
	return nil
}

// Objects returns the objects of one spec: none for an external.
func (c Cache) Objects(i int) []Object {
	if c.External(i) {
		return nil
	}
	tarball := c.tarball(i)
	var objects []Object
	if c.v3() {
		objects = c.objects3(i, tarball)
	} else {
		objects = c.objects2(i, tarball)
	}
	for k := range objects {
		objects[k].ModTime = c.ModTime(i)
	}
	return objects
}

func (c Cache) objects2(i int, tarball []byte) []Object {
	stem := arch + "-" + compilerDir + "-" + c.Name(i) + "-" + c.Version(i) + "-" + string(c.Hash(i))
	spec := c.specFile(i, `,"binary_cache_checksum":{"hash_algorithm":"sha256","hash":"`+digest(tarball)+`"}`)
	return []Object{
		{Key: "build_cache/" + arch + "/" + compilerDir + "/" + c.Name(i) + "-" + c.Version(i) + "/" + stem + ".spack", Body: tarball},
		{Key: "build_cache/" + stem + ".spec.json", Body: lines(spec)},
	}
}

func (c Cache) objects3(i int, tarball []byte) []Object {
	const (
		packageType = "application/vnd.spack.install.v2.tar+gzip"
		specType    = "application/vnd.spack.spec.v5+json"
	)
	spec := zip(func(w io.Writer) { w.Write(c.specFile(i, "")) })
	return []Object{
		blob(tarball),
		blob(spec),
		{
			Key:  "v3/manifests/spec/" + c.Name(i) + "/" + c.Name(i) + "-" + c.Version(i) + "-" + string(c.Hash(i)) + ".spec.manifest.json",
			Body: manifest(part{tarball, packageType, "gzip"}, part{spec, specType, "gzip"}),
		},
	}
}

// top returns the objects that are there once.
func (c Cache) top(index []byte) []Object {
	var objects []Object
	if c.v3() {
		objects = []Object{
			{Key: "v3/layout.json", Body: []byte(`{"signing": "gpg"}`)},
			blob(index),
			{Key: "v3/manifests/index/index.manifest.json", Body: manifest(part{index, "application/vnd.spack.db.v8+json", "none"})},
		}
	} else {
		objects = []Object{
			{Key: "build_cache/index.json", Body: index},
			{Key: "build_cache/index.json.hash", Body: []byte(digest(index))},
		}
	}
	for k := range objects {
		objects[k].ModTime = c.ModTime(c.Specs - 1)
	}
	return objects
}

// specFile returns a spec with its DAG.
func (c Cache) specFile(i int, more string) []byte {
	w := writer{Cache: c}
	version := 4
	if c.v3() {
		version = 5
	}
	w.b = fmt.Appendf(w.b, `{"spec":{"_meta":{"version":%d},"nodes":[`, version)
	nodes := []int{i}
	if !c.Shallow {
		nodes = c.closure(anyType, i)
	}
	for n, i := range nodes {
		if n > 0 {
			w.b = append(w.b, ',')
		}
		w.node(i)
	}
	w.b = append(w.b, `]},"buildcache_layout_version":2`...)
	return append(append(w.b, more...), '}')
}

// A part of a manifest is a blob.
type part struct {
	body                   []byte
	mediaType, compression string
}

func manifest(parts ...part) []byte {
	b := []byte(`{"version":3,"data":[`)
	for n, p := range parts {
		if n > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"contentLength":%d,"mediaType":%q,"compression":%q,"checksumAlgorithm":"sha256","checksum":%q}`,
			len(p.body), p.mediaType, p.compression, digest(p.body))
	}
	return lines(append(b, "]}"...))
}

func blob(body []byte) Object {
	sum := digest(body)
	return Object{Key: "blobs/sha256/" + sum[:2] + "/" + sum, Body: body}
}

func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// lines puts each token on a line of its own, as Spack does for the sake of
// GPG, which cuts long lines. The strings in text have no escapes.
func lines(text []byte) []byte {
	out := make([]byte, 0, len(text)+len(text)/8)
	quoted := false
	for k, c := range text {
		closes := c == '}' || c == ']'
		if !quoted && closes && k > 0 && text[k-1] != '{' && text[k-1] != '[' {
			out = append(out, '\n')
		}
		out = append(out, c)
		if c == '"' {
			quoted = !quoted
		}
		opens := (c == '{' || c == '[') && k+1 < len(text) && text[k+1] != '}' && text[k+1] != ']'
		if !quoted && (opens || c == ',') {
			out = append(out, '\n')
		}
	}
	return out
}
