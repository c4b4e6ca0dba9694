package scan

import (
	"bytes"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
)

// The kinds of objects, by shorter names. Only the first four are ever deleted.
const (
	SpecFile      = buildcache.SpecFile
	Tarball       = buildcache.Tarball
	Manifest      = buildcache.SpecManifest
	Blob          = buildcache.BlobObject
	IndexManifest = buildcache.IndexManifest
	OtherManifest = buildcache.OtherManifest
	Foreign       = buildcache.Foreign
	Unknown       = buildcache.Unknown
)

// Kind is what an object of a mirror is.
type Kind = buildcache.Kind

// IsPart reports whether objects of a kind are parts of packages: only these may
// be deleted.
func IsPart(k Kind) bool { return k >= SpecFile && k <= Blob }

// Where the indexes are, and the list of keys.
const (
	keysV3      = "v3/manifests/key/keys.manifest.json"
	IndexV2     = index.KeyV2
	IndexHashV2 = IndexV2 + ".hash"
	IndexV3     = index.KeyV3
	BlobsPrefix = "blobs/sha256/"
)

// hashOf returns the hash in the key of a spec file, tarball or manifest: the
// last dash is before it, and it is followed by a dot.
func hashOf(key []byte) []byte {
	hash, _, _ := bytes.Cut(key[bytes.LastIndexByte(key, '-')+1:], []byte("."))
	return hash
}
