package buildcache

import (
	"fmt"
	"strconv"
	"strings"
)

// A Format is one of the file formats of Spack that carry a version number.
//
// A version between Oldest and Tested was tried. A newer one is read as long as its shape is the
// one that is known, which the reader of the file decides; Note then says so, and what is in that
// version is never deleted, rewritten or repaired.
type Format struct {
	Name   string // as messages call it
	Oldest int    // what is older is refused: it names specs by other hashes
	Tested int    // the newest version that was tried
}

// The versions that are known. docs/spack-versions.md tells which Spack writes which, and what was
// tried with it; this is the only place in the code that has the numbers.
var (
	LockfileFormat = Format{"lockfile", 4, 8}       // Spack 0.18 to 1.3
	SpecFileFormat = Format{"spec file", 2, 6}      // Spack 0.17 to 1.3
	DatabaseFormat = Format{"database", 6, 9}       // of the index; Spack 0.18 to 1.3
	TarballFormat  = Format{"tarball layout", 1, 2} // 1 is that of Spack 0.18 to 0.21
)

// Check refuses versions that are too old. Its error is ErrFormat.
func (f Format) Check(version int) error {
	if version < f.Oldest {
		return fmt.Errorf("%w: %s version %d is older than what is known here (%d to %d)", ErrFormat, f.Name, version, f.Oldest, f.Tested)
	}
	return nil
}

// Newer reports whether a version is newer than those that were tried.
func (f Format) Newer(version int) bool { return version > f.Tested }

// Note returns one line for the user about a version that is newer than those that were tried, and
// "" about the others.
func (f Format) Note(version int) string {
	if !f.Newer(version) {
		return ""
	}
	return fmt.Sprintf("%s version %d is newer than what this program was tried with (%d): it is read, and nothing in it is changed or deleted", f.Name, version, f.Tested)
}

// A BlobKind is what a blob of layout v3 holds.
type BlobKind uint8

// The kinds of blobs. OtherBlob is one whose media type is not known.
const (
	OtherBlob BlobKind = iota
	TarballBlob
	SpecBlob
	IndexBlob
	KeyBlob
	KeyIndexBlob
)

var blobKinds = [...]string{"blob of a known type", "tarball", "spec", "index", "key", "index of keys"}

// String returns the kind in words.
func (k BlobKind) String() string { return blobKinds[k] }

// A mediaType is one that carries the version of a format between prefix and suffix.
type mediaType struct {
	prefix, suffix string
	kind           BlobKind
	format         Format
}

var mediaTypes = [...]mediaType{
	{"application/vnd.spack.install.v", ".tar+gzip", TarballBlob, TarballFormat},
	{"application/vnd.spack.spec.v", "+json", SpecBlob, SpecFileFormat},
	{"application/vnd.spack.db.v", "+json", IndexBlob, DatabaseFormat},
	{"application/vnd.spack.keyindex.v", "+json", KeyIndexBlob, Format{"key index", 1, 1}},
}

// Kind returns what a blob holds, by its media type, and a Note if that is of a version that is
// newer than those that were tried or not known at all.
func (b Blob) Kind() (kind BlobKind, note string) {
	if b.MediaType == MediaTypeKey {
		return KeyBlob, ""
	}
	if t, version, ok := parseMediaType(b.MediaType); ok {
		return t.kind, t.format.Note(version)
	}
	return OtherBlob, fmt.Sprintf("a blob of the unknown type %q: it is kept", b.MediaType)
}

func parseMediaType(text string) (t mediaType, version int, ok bool) {
	for _, t := range mediaTypes {
		rest, is := strings.CutPrefix(text, t.prefix)
		number, whole := strings.CutSuffix(rest, t.suffix)
		if version, err := strconv.Atoi(number); is && whole && err == nil && strconv.Itoa(version) == number && version > 0 {
			return t, version, true
		}
	}
	return mediaType{}, 0, false
}

// IndexMediaType returns the media type of an index blob whose database has this version.
func IndexMediaType(version string) string { return "application/vnd.spack.db.v" + version + "+json" }
