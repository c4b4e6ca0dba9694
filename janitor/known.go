package janitor

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Known remembers what was read before: in its file which blobs manifests
// name, such that a run reads only the manifests that are new; and while it
// lives the specs and indexes. It only saves work: without its file, or with
// one that is not whole, everything is read.
type Known struct {
	path string
	mu   sync.Mutex
	text []byte                 // records, as in the file
	at   map[fingerprint]uint32 // where in text
	used map[fingerprint]bool   // those that this run has seen: the rest is forgotten

	dag     *dag
	indexes map[string]*cacheIndex
}

// A fingerprint stands for a manifest with its key, ETag and size.
type fingerprint [16]byte

func fingerprintOf(o buildcache.Object) (f fingerprint) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", o.Key, o.ETag, o.Size))
	copy(f[:], sum[:])
	return f
}

// A blobRef is what a manifest says of a blob.
type blobRef struct {
	sum  [sha256.Size]byte
	size int64
	form blobForm
}

type blobForm uint8

const (
	specBlob blobForm = 1 << iota // not the tarball
	zippedBlob
)

const refLen = sha256.Size + 8 + 1

func refOf(b buildcache.Blob) (r blobRef) {
	if _, err := hex.Decode(r.sum[:], []byte(b.Checksum)); err != nil {
		panic(err) // ParseManifest takes no other checksum
	}
	r.size = b.Size
	if b.MediaType == buildcache.MediaTypeSpec {
		r.form |= specBlob
	}
	if b.Compression == "gzip" {
		r.form |= zippedBlob
	}
	return r
}

// knownHead begins the file. Behind it come records: a fingerprint, the number
// of blobs in a byte, then each blob's checksum, size and form. The file ends
// with the sha256 of all before.
const knownHead = "spacktainers: known manifests, version 1\n"

// OpenKnown reads the file of one mirror. Without a path it remembers only
// while it lives.
func OpenKnown(path string) *Known {
	k := &Known{path: path, at: map[fingerprint]uint32{}, used: map[fingerprint]bool{}, dag: newDAG(), indexes: map[string]*cacheIndex{}}
	if path == "" {
		return k
	}
	text, err := os.ReadFile(path)
	end := len(text) - sha256.Size
	if err != nil || end < len(knownHead) || !bytes.HasPrefix(text, []byte(knownHead)) {
		return k
	}
	if sum := sha256.Sum256(text[:end]); !bytes.Equal(sum[:], text[end:]) {
		return k
	}
	k.text = text[len(knownHead):end:end]
	for at := 0; at < len(k.text); {
		k.at[fingerprint(k.text[at:])] = uint32(at)
		at += len(fingerprint{}) + 1 + refLen*int(k.text[at+len(fingerprint{})])
	}
	return k
}

// Save writes the file anew, with what this run has seen.
func (k *Known) Save() error {
	if k.path == "" {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.save(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("known manifests: %w", err)
	}
	return nil
}

func (k *Known) save() error {
	if err := os.MkdirAll(filepath.Dir(k.path), 0o755); err != nil {
		return err
	}
	text := make([]byte, 0, len(knownHead)+len(k.text)+sha256.Size)
	text = append(text, knownHead...)
	for f := range k.used {
		text = append(text, k.record(f)...)
	}
	sum := sha256.Sum256(text)
	temp := k.path + ".new"
	if err := os.WriteFile(temp, append(text, sum[:]...), 0o644); err != nil {
		return err
	}
	return os.Rename(temp, k.path)
}

func (k *Known) record(f fingerprint) []byte {
	record := k.text[k.at[f]:]
	return record[:len(f)+1+refLen*int(record[len(f)])]
}

func (k *Known) get(o buildcache.Object) ([]blobRef, bool) {
	if o.ETag == "" {
		return nil, false
	}
	f := fingerprintOf(o)
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.at[f]; !ok {
		return nil, false
	}
	k.used[f] = true
	record := k.record(f)[len(f)+1:]
	refs := make([]blobRef, len(record)/refLen)
	for i := range refs {
		b := record[refLen*i:]
		refs[i] = blobRef{[sha256.Size]byte(b), int64(binary.LittleEndian.Uint64(b[sha256.Size:])), blobForm(b[refLen-1])}
	}
	return refs, true
}

func (k *Known) put(o buildcache.Object, refs []blobRef) {
	if o.ETag == "" || len(refs) > 255 {
		return
	}
	f := fingerprintOf(o)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.at[f], k.used[f] = uint32(len(k.text)), true
	k.text = append(append(k.text, f[:]...), byte(len(refs)))
	for _, r := range refs {
		k.text = append(k.text, r.sum[:]...)
		k.text = binary.LittleEndian.AppendUint64(k.text, uint64(r.size))
		k.text = append(k.text, byte(r.form))
	}
}

// index returns an index that was read before; name is the checksum of its
// text, or the key and ETag of its object.
func (k *Known) index(name string) *cacheIndex {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.indexes[name]
}

func (k *Known) putIndex(name string, x *cacheIndex) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.indexes) >= maxIndexes {
		clear(k.indexes)
	}
	k.indexes[name] = x
}

// maxIndexes is how many indexes are remembered while a run lasts.
const maxIndexes = 8
