package scan

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"iter"
	"slices"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
	"github.com/openbraininstitute/spacktainers/janitor/listing"
)

// readManifests reads every manifest that is not known: the blobs that they
// name are no orphans. What it has read is remembered even if it fails.
func (r *scanner) readManifests(ctx context.Context) error {
	unread := r.recall()
	found := make([]reading, len(unread))
	err := r.opts.Each(ctx, "read manifests", len(unread), func(ctx context.Context, i int) (err error) {
		found[i], err = r.readManifest(ctx, r.Manifests[unread[i]])
		return err
	})
	r.unsure = index.NewBits(len(r.Manifests))
	for i, n := range unread {
		r.mention(n, found[i].blobs)
		if !found[i].sure {
			r.unsure.Set(n)
		}
	}
	r.gatherBlobs()
	r.opts.Known.last = r.Scan
	return err
}

// recall takes what is known of the manifests that were listed, and returns the
// numbers of the others. Those that are known and were not listed are missed.
func (r *scanner) recall() (unread []uint32) {
	listed := 0
	for range r.Of(Blob) {
		listed++
	}
	r.Blobs = make([]NamedBlob, 0, listed) // about as many are named
	known, stop := iter.Pull(r.opts.Known.memories())
	defer stop()
	m, more := known()
	pass := func() {
		// Indexes have a listing of their own, and what this run has deleted is not missed.
		if k := buildcache.KindOf(string(m.key)); k != IndexManifest && !(k == Manifest && r.opts.Deleted(hashOf(m.key))) {
			r.missed = append(r.missed, string(m.key))
		}
		m, more = known()
	}
	var stamp []byte
	for i, key := range r.Objects.All() {
		if k := r.Objects.At(i).Kind; k != Manifest && k != IndexManifest && k != OtherManifest {
			continue
		}
		n := uint32(len(r.Manifests))
		r.Manifests = append(r.Manifests, i)
		r.BlobsOf.from, r.BlobsOf.to = append(r.BlobsOf.from, 0), append(r.BlobsOf.to, 0)
		for more && bytes.Compare(m.key, key) < 0 {
			pass()
		}
		stamp = r.Objects.Stamp(stamp[:0], i)
		if more && len(stamp) > 0 && bytes.Equal(m.key, key) && bytes.Equal(m.stamp, stamp) {
			r.mention(n, m.blobs)
		} else {
			unread = append(unread, n)
		}
		if more && bytes.Equal(m.key, key) {
			m, more = known()
		}
	}
	for more {
		pass()
	}
	return unread
}

// A reading is what came of a manifest that was not known. It is sure if it is
// that of the object that was listed.
type reading struct {
	blobs []blobRef
	sure  bool
}

func (r *scanner) readManifest(ctx context.Context, i listing.ID) (found reading, err error) {
	o := r.Objects.Get(i)
	data, at, err := buildcache.ReadAll(ctx, r.store, o.Key)
	if err != nil {
		return found, err
	}
	m, err := buildcache.ParseManifest(data)
	if err != nil {
		return found, Unreadable(o.Key, err)
	}
	for _, b := range m.Blobs {
		found.blobs = append(found.blobs, refOf(b))
	}
	found.sure = at.ETag == o.ETag && at.Size == o.Size
	return found, nil
}

// mention notes that a manifest names blobs.
func (r *scanner) mention(manifest uint32, named []blobRef) {
	r.BlobsOf.from[manifest] = uint32(len(r.Blobs))
	for _, ref := range named {
		r.Blobs = append(r.Blobs, NamedBlob{blobRef: ref})
	}
	r.BlobsOf.to[manifest] = uint32(len(r.Blobs))
}

// gatherBlobs makes one blob of all that have a checksum.
func (r *scanner) gatherBlobs() {
	mentions := r.Blobs
	r.Blobs = mentions[:0] // they only get fewer
	r.BlobsOf.all = make([]uint32, len(mentions))
	r.numbers = newBlobTable(len(mentions))
	differ := index.NewBits(len(mentions))
	for i, b := range mentions {
		at := r.numbers.slot(&b.Sum, r.Blobs)
		if *at == 0 {
			r.Blobs = append(r.Blobs, b)
			*at = uint32(len(r.Blobs))
		} else if r.Blobs[*at-1].blobRef != b.blobRef {
			differ.Set(uint32(i))
		}
		r.BlobsOf.all[i] = *at - 1
	}
	if differ.Count() == 0 {
		return
	}
	for n := range r.Manifests {
		for i := r.BlobsOf.from[n]; i < r.BlobsOf.to[n]; i++ {
			if differ.Has(i) {
				r.unsure.Set(uint32(n))
			}
		}
	}
}

// findBlobs looks the blobs that manifests name up among those that were
// listed.
func (r *scanner) findBlobs() {
	var sum [sha256.Size]byte
	for i, key := range r.Objects.All() {
		o := r.Objects.At(i)
		if o.Kind != Blob {
			continue
		}
		if _, err := hex.Decode(sum[:], key[len(BlobsPrefix)+3:]); err != nil {
			panic(err) // KindOf knows
		}
		if n := *r.numbers.slot(&sum, r.Blobs); n != 0 {
			r.Blobs[n-1].Object, o.Of = i+1, n
		}
	}
	r.numbers = blobTable{}
}

// BlobsNamed returns the blobs of a manifest.
func (s *Scan) BlobsNamed(manifest listing.ID) []uint32 {
	if i, ok := slices.BinarySearch(s.Manifests, manifest); ok {
		return s.BlobsOf.Of(uint32(i))
	}
	return nil
}
