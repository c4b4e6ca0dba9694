package janitor

import (
	"path"
	"regexp"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A Kind is what an object of a mirror is.
type Kind string

// The kinds of objects. Only the first four are ever deleted, and what is the
// janitor's own.
const (
	SpecFile      Kind = "spec file"      // layout v2
	Tarball       Kind = "tarball"        // layout v2
	Manifest      Kind = "manifest"       // layout v3, of a spec
	Blob          Kind = "blob"           // layout v3
	Index         Kind = "index"          // layout v2, and its checksum
	IndexManifest Kind = "index manifest" // layout v3, views too
	OtherManifest Kind = "other manifest" // layout v3: keys, and whatever else names blobs
	Key           Kind = "key"            // layout v2
	Layout        Kind = "layout"         // v3/layout.json
	Own           Kind = "own"            // below Prefix
	Foreign       Kind = "foreign"        // anything else: never touched
)

// Where the indexes lie, and the list of keys.
const (
	keysV3      = "v3/manifests/key/keys.manifest.json"
	indexV2     = "build_cache/index.json"
	indexHashV2 = indexV2 + ".hash"
	indexesV3   = "v3/manifests/index/"
	indexV3     = indexesV3 + indexBase
	indexBase   = "index.manifest.json"
)

var blobKey = regexp.MustCompile(`^blobs/sha256/([0-9a-f]{2})/([0-9a-f]{64})$`)

// kindOf sorts an object by its key. It computes no key of its own: the hash
// stands at the end.
func kindOf(key string) Kind {
	_, hasHash := buildcache.KeyHash(key)
	switch {
	case strings.HasPrefix(key, Prefix):
		return Own
	case key == indexV2, key == indexHashV2:
		return Index
	case strings.HasPrefix(key, "build_cache/_pgp/"):
		return Key
	case strings.HasPrefix(key, "build_cache/") && hasHash:
		return kindV2(key)
	case key == "v3/layout.json":
		return Layout
	case strings.HasPrefix(key, indexesV3) && path.Base(key) == indexBase:
		return IndexManifest
	case strings.HasPrefix(key, "v3/manifests/spec/") && hasHash && strings.HasSuffix(key, ".spec.manifest.json"):
		return Manifest
	case strings.HasPrefix(key, "v3/manifests/"):
		return OtherManifest
	case isBlob(key):
		return Blob
	}
	return Foreign
}

func kindV2(key string) Kind {
	switch {
	case strings.HasSuffix(key, ".spack"):
		return Tarball
	case strings.HasSuffix(key, ".spec.json"), strings.HasSuffix(key, ".spec.json.sig"):
		return SpecFile
	}
	return Foreign
}

func isBlob(key string) bool {
	m := blobKey.FindStringSubmatch(key)
	return m != nil && strings.HasPrefix(m[2], m[1])
}

var unknownLayout = regexp.MustCompile(`^v([0-9]+)/`)

// fromTheFuture says that an object belongs to a layout that is not known
// here, whose manifests may name the blobs that we would call orphans.
func fromTheFuture(key string) bool {
	m := unknownLayout.FindStringSubmatch(key)
	return m != nil && m[1] != "3"
}
