package janitor

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A Kind is what an object of a mirror is.
type Kind uint8

// The kinds of objects. Only the first four behind Foreign are ever deleted,
// and what is the janitor's own.
const (
	Foreign       Kind = iota // none of the others: never touched
	SpecFile                  // layout v2
	Tarball                   // layout v2
	Manifest                  // layout v3, of a spec
	Blob                      // layout v3
	Index                     // layout v2, and its checksum
	IndexManifest             // layout v3, views too
	OtherManifest             // layout v3: keys, and whatever else names blobs
	Key                       // layout v2
	Layout                    // v3/layout.json
	Own                       // below Prefix
)

var kindNames = [...]string{"foreign", "spec file", "tarball", "manifest", "blob", "index", "index manifest", "other manifest", "key", "layout", "own"}

// String returns the kind in words.
func (k Kind) String() string { return kindNames[k] }

// MarshalText returns the kind in words.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads a kind in words.
func (k *Kind) UnmarshalText(text []byte) error {
	i := slices.Index(kindNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("%w: %q is no kind of object", buildcache.ErrFormat, text)
	}
	*k = Kind(i)
	return nil
}

// counts says whether objects of a kind are parts of packages.
func (k Kind) counts() bool { return k >= SpecFile && k <= Blob }

// Where the indexes lie, and the list of keys.
const (
	keysV3      = "v3/manifests/key/keys.manifest.json"
	indexV2     = "build_cache/index.json"
	indexHashV2 = indexV2 + ".hash"
	indexesV3   = "v3/manifests/index/"
	indexV3     = indexesV3 + indexBase
	indexBase   = "index.manifest.json"
)

// kindOf sorts an object by its key. It computes no key of its own: the hash
// stands at the end.
func kindOf(key string) Kind {
	switch {
	case strings.HasPrefix(key, Prefix):
		return Own
	case strings.HasPrefix(key, "blobs/"):
		if isBlob(key) {
			return Blob
		}
	case strings.HasPrefix(key, "build_cache/"):
		return kindV2(key)
	case strings.HasPrefix(key, "v3/"):
		return kindV3(key)
	}
	return Foreign
}

func kindV2(key string) Kind {
	_, hasHash := buildcache.KeyHash(key)
	switch {
	case key == indexV2, key == indexHashV2:
		return Index
	case strings.HasPrefix(key, "build_cache/_pgp/"):
		return Key
	case !hasHash:
		return Foreign
	case strings.HasSuffix(key, ".spack"):
		return Tarball
	case strings.HasSuffix(key, ".spec.json"), strings.HasSuffix(key, ".spec.json.sig"):
		return SpecFile
	}
	return Foreign
}

func kindV3(key string) Kind {
	_, hasHash := buildcache.KeyHash(key)
	switch {
	case key == "v3/layout.json":
		return Layout
	case strings.HasPrefix(key, indexesV3) && path.Base(key) == indexBase:
		return IndexManifest
	case strings.HasPrefix(key, "v3/manifests/spec/") && hasHash && strings.HasSuffix(key, ".spec.manifest.json"):
		return Manifest
	case strings.HasPrefix(key, "v3/manifests/"):
		return OtherManifest
	}
	return Foreign
}

// hashOf returns the hash in the key of a spec file, tarball or manifest: the
// last dash stands before it, and it is followed by a dot.
func hashOf(key []byte) []byte {
	hash, _, _ := bytes.Cut(key[bytes.LastIndexByte(key, '-')+1:], []byte("."))
	return hash
}

const blobsPrefix = "blobs/sha256/"

// isBlob says whether a key is blobs/sha256/ab/ab… with 64 hexadecimal digits.
func isBlob(key string) bool {
	rest, ok := strings.CutPrefix(key, blobsPrefix)
	return ok && len(rest) == 3+64 && rest[2] == '/' && rest[:2] == rest[3:5] && strings.Trim(rest[3:], "0123456789abcdef") == ""
}

// fromTheFuture says that an object belongs to a layout that is not known
// here, whose manifests may name the blobs that we would call orphans.
func fromTheFuture(key string) bool {
	rest, ok := strings.CutPrefix(key, "v")
	number, _, folder := strings.Cut(rest, "/")
	return ok && folder && number != "" && strings.Trim(number, "0123456789") == "" && number != "3"
}
