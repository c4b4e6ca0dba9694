package scan

import (
	"crypto/sha256"
	"encoding/hex"
	"hash/maphash"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A blobRef is what a manifest says of a blob.
type blobRef struct {
	Sum  [sha256.Size]byte
	Size int64
	Form blobForm
}

type blobForm uint8

const (
	SpecBlob blobForm = 1 << iota // not the tarball
	ZippedBlob
	newerBlob // of a format that is newer than those that were tried, or not known
)

func refOf(b buildcache.Blob) (r blobRef) {
	if _, err := hex.Decode(r.Sum[:], []byte(b.Checksum)); err != nil {
		panic(err) // ParseManifest takes no other checksum
	}
	r.Size = b.Size
	if kind, _ := b.Kind(); kind == buildcache.SpecBlob {
		r.Form |= SpecBlob
	}
	if _, note := b.Kind(); note != "" {
		r.Form |= newerBlob
	}
	if b.Compression == "gzip" {
		r.Form |= ZippedBlob
	}
	return r
}

// A NamedBlob is one that manifests name.
type NamedBlob struct {
	blobRef
	Object uint32 // its number + 1; 0 if it was not listed
}

// Key returns where the blob is, if it is there.
func (b *NamedBlob) Key() string {
	sum := hex.EncodeToString(b.Sum[:])
	return BlobsPrefix + sum[:2] + "/" + sum
}

// A blobTable finds blobs by checksum: open addressing, with nothing but the
// number of the blob in a slot, a tenth of what a map would take.
type blobTable struct {
	slots []uint32 // number + 1; 0 is free; a power of two of them
	seed  maphash.Seed
}

// newBlobTable has room for n blobs.
func newBlobTable(n int) blobTable {
	size := 1
	for size < n+n/2+1 {
		size *= 2
	}
	return blobTable{make([]uint32, size), maphash.MakeSeed()}
}

// slot returns where the number of a blob is, or belongs.
func (t *blobTable) slot(sum *[sha256.Size]byte, blobs []NamedBlob) *uint32 {
	mask := uint64(len(t.slots) - 1)
	i := maphash.Bytes(t.seed, sum[:]) & mask
	for t.slots[i] != 0 && blobs[t.slots[i]-1].Sum != *sum {
		i = (i + 1) & mask
	}
	return &t.slots[i]
}
