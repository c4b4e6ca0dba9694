package buildcache

import (
	"path"
	"strings"
)

// A Kind is what an object of a build cache is, by its key.
type Kind uint8

// The kinds of objects. What is Foreign belongs to no build cache. What is Unknown could be a part
// of a package in a form that is not known here: it is kept and reported, and so is what has its
// hash.
const (
	Foreign       Kind = iota
	SpecFile           // layout v2
	Tarball            // layout v2
	SpecManifest       // layout v3, of a package
	BlobObject         // layout v3
	Index              // layout v2, and its checksum
	IndexManifest      // layout v3, views too
	OtherManifest      // layout v3: keys, and what else names blobs
	PublicKey          // layout v2
	LayoutFile         // v3/layout.json
	Unknown
)

var kindNames = [...]string{
	"foreign", "spec file", "tarball", "manifest", "blob", "index", "index manifest", "other manifest", "key", "layout", "unknown",
}

// String returns the kind in words.
func (k Kind) String() string { return kindNames[k] }

// KindOf tells the kind of an object by its key alone.
func KindOf(key string) Kind {
	switch {
	case strings.HasSuffix(key, "/"):
		return Foreign // an empty object that stands for a folder, as consoles make them
	case strings.HasPrefix(key, "build_cache/"):
		return kindV2(key)
	case strings.HasPrefix(key, "v3/"):
		return kindV3(key)
	case strings.HasPrefix(key, "blobs/"):
		if isBlob(key) {
			return BlobObject
		}
		return Unknown
	}
	return Foreign
}

func kindV2(key string) Kind {
	_, hasHash := KeyHash(key)
	switch {
	case key == "build_cache/index.json", key == "build_cache/index.json.hash":
		return Index
	case strings.HasPrefix(key, "build_cache/_pgp/"):
		return PublicKey
	case hasHash && strings.HasSuffix(key, ".spack"):
		return Tarball
	case hasHash && (strings.HasSuffix(key, ".spec.json") || strings.HasSuffix(key, ".spec.json.sig")):
		return SpecFile
	}
	return Unknown
}

func kindV3(key string) Kind {
	_, hasHash := KeyHash(key)
	switch {
	case key == "v3/layout.json":
		return LayoutFile
	case strings.HasPrefix(key, "v3/manifests/index/") && path.Base(key) == "index.manifest.json":
		return IndexManifest
	case strings.HasPrefix(key, "v3/manifests/spec/") && hasHash && strings.HasSuffix(key, ".spec.manifest.json"):
		return SpecManifest
	case strings.HasPrefix(key, "v3/manifests/") && strings.HasSuffix(key, ".manifest.json"):
		return OtherManifest
	}
	return Unknown
}

// isBlob reports whether a key is blobs/sha256/ab/ab… with 64 hexadecimal digits.
func isBlob(key string) bool {
	rest, ok := strings.CutPrefix(key, "blobs/sha256/")
	return ok && len(rest) == 3+64 && rest[2] == '/' && rest[:2] == rest[3:5] && strings.Trim(rest[3:], "0123456789abcdef") == ""
}

// UnknownHash returns the hash that an Unknown object seems to be about: what stands behind a dash
// and before a dot or the end of the key. An example is the .spec.yaml of Spack 0.17.
func UnknownHash(key string) (Hash, bool) {
	base := path.Base(key)
	for at := strings.IndexByte(base, '-'); at >= 0; {
		rest := base[at+1:]
		if len(rest) >= hashLen && (len(rest) == hashLen || rest[hashLen] == '.') {
			if hash, err := ParseHash(rest[:hashLen]); err == nil {
				return hash, true
			}
		}
		next := strings.IndexByte(rest, '-')
		if next < 0 {
			break
		}
		at += 1 + next
	}
	return "", false
}

// NewerLayout reports whether an object belongs to a layout that came after v3. Its manifests may
// name the blobs that v3 has, too.
func NewerLayout(key string) bool {
	rest, ok := strings.CutPrefix(key, "v")
	number, _, folder := strings.Cut(rest, "/")
	return ok && folder && number != "" && strings.Trim(number, "0123456789") == "" && number != "3"
}
