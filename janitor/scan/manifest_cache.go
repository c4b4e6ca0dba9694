package scan

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"sync"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor/dag"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
)

// Known remembers what was read before: in its file which blobs manifests
// name, such that a run reads only the manifests that are new; and while it
// lives the last scan, the specs and the indexes. It only saves work: without
// its file, or with one that is not whole, everything is read.
type Known struct {
	path string
	last *Scan // the newest; until there is one, the file is asked

	dag     *dag.DAG
	mu      sync.Mutex
	indexes map[string]*Index
	Sets    rootset.SetMemory             // root sets
	folders []string                      // of tarballs in layout v2
	pushes  map[string][]*buildcache.Spec // of blobs that no manifest names, by checksum
}

// OpenKnown returns what is known of one mirror, by its file. Without a path it
// remembers only while it lives.
func OpenKnown(path string) *Known {
	return &Known{path: path, dag: dag.New(), indexes: map[string]*Index{}, pushes: map[string][]*buildcache.Spec{}}
}

// A memory is what is remembered of a manifest. It is valid for one step of
// the sequence that yields it.
type memory struct {
	key   []byte
	stamp []byte // of the object whose content it was
	blobs []blobRef
}

// memories yields what is known of manifests, in the order of their keys.
func (k *Known) memories() iter.Seq[*memory] {
	if k.last != nil {
		return k.last.memories()
	}
	return func(yield func(*memory) bool) {
		file, err := os.Open(k.path)
		if err != nil {
			return
		}
		defer file.Close()
		if r := knownText(file); r != nil {
			readMemories(r, yield)
		}
	}
}

// knownHead begins the file. Behind it come records in the order of their
// keys: how many bytes a key shares with the one before, the rest of it, the
// stamp, and the number of blobs, each with checksum, size and form; all
// numbers and lengths are uvarints. The file ends with the sha256 of all
// before.
const knownHead = "spacktainers: known manifests, version 3\n"

// knownText returns the records of a file that is whole, else nil.
func knownText(file *os.File) *bufio.Reader {
	info, err := file.Stat()
	if err != nil {
		return nil
	}
	end := info.Size() - sha256.Size
	head, want := make([]byte, len(knownHead)), make([]byte, sha256.Size)
	if _, err := file.ReadAt(head, 0); err != nil || string(head) != knownHead || end < int64(len(head)) {
		return nil
	}
	if _, err := file.ReadAt(want, end); err != nil {
		return nil
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(file, 0, end)); err != nil || !bytes.Equal(sum.Sum(nil), want) {
		return nil
	}
	return bufio.NewReaderSize(io.NewSectionReader(file, int64(len(head)), end-int64(len(head))), 1<<16)
}

// readMemories ends where it cannot read on: what comes later is read anew.
func readMemories(r *bufio.Reader, yield func(*memory) bool) {
	var m memory
	var err error
	number := func() (n uint64) {
		if err == nil {
			n, err = binary.ReadUvarint(r)
		}
		return n
	}
	fill := func(to []byte, from uint64) []byte { // keeps so much of it
		n := number()
		if err == nil && (from > uint64(len(to)) || n > 1<<16) {
			err = errors.ErrUnsupported
		}
		if err != nil {
			return to
		}
		to = append(to[:from], make([]byte, n)...)
		_, err = io.ReadFull(r, to[from:])
		return to
	}
	for {
		m.key = fill(m.key, number())
		m.stamp = fill(m.stamp, 0)
		m.blobs = m.blobs[:0]
		for n := number(); n > 0 && err == nil; n-- {
			m.blobs = append(m.blobs, blobRef{})
			b := &m.blobs[len(m.blobs)-1]
			_, err = io.ReadFull(r, b.Sum[:])
			b.Size, b.Form = int64(number()), blobForm(number())
		}
		if err != nil || !yield(&m) {
			return
		}
	}
}

// Save writes the file anew, with what the last scan has seen.
func (k *Known) Save() error {
	if k.path == "" || k.last == nil {
		return nil
	}
	if err := k.save(); err != nil {
		return fmt.Errorf("known manifests: %w", err)
	}
	return nil
}

func (k *Known) save() error {
	if err := os.MkdirAll(filepath.Dir(k.path), 0o755); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(k.path), filepath.Base(k.path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // if it was not renamed
	sum := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(file, sum), 1<<16)
	if err = writeMemories(w, k.last.memories()); err == nil {
		_, err = file.Write(sum.Sum(nil))
	}
	if err := errors.Join(err, file.Chmod(0o644), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), k.path)
}

func writeMemories(w *bufio.Writer, all iter.Seq[*memory]) error {
	_, _ = w.WriteString(knownHead) // Flush returns its error, and those of all others
	var last, b []byte
	for m := range all {
		shared := 0
		for shared < min(len(last), len(m.key)) && last[shared] == m.key[shared] {
			shared++
		}
		b = binary.AppendUvarint(b[:0], uint64(shared))
		b = binary.AppendUvarint(b, uint64(len(m.key)-shared))
		b = append(b, m.key[shared:]...)
		b = binary.AppendUvarint(b, uint64(len(m.stamp)))
		b = append(b, m.stamp...)
		b = binary.AppendUvarint(b, uint64(len(m.blobs)))
		for _, r := range m.blobs {
			b = append(b, r.Sum[:]...)
			b = binary.AppendUvarint(b, uint64(r.Size))
			b = append(b, byte(r.Form))
		}
		_, _ = w.Write(b)
		last = append(last[:0], m.key...)
	}
	return w.Flush()
}

// memories yields what the scan knows of the manifests that it has read, and
// those that it has missed, without a stamp.
func (s *Scan) memories() iter.Seq[*memory] {
	return func(yield func(*memory) bool) {
		var m memory
		missed := s.missed
		yieldMissed := func(before []byte) bool {
			for len(missed) > 0 && (before == nil || missed[0] < string(before)) {
				if !yield(&memory{key: []byte(missed[0])}) {
					return false
				}
				missed = missed[1:]
			}
			return true
		}
		n := uint32(0)
		for i, key := range s.Objects.All() {
			if int(n) == len(s.Manifests) {
				break
			}
			if s.Manifests[n] != i {
				continue
			}
			m.key, m.stamp, m.blobs = key, s.Objects.Stamp(m.stamp[:0], i), m.blobs[:0]
			for _, b := range s.BlobsOf.Of(n) {
				m.blobs = append(m.blobs, s.Blobs[b].blobRef)
			}
			if !yieldMissed(key) || !s.unsure.Has(n) && len(m.stamp) > 0 && !yield(&m) {
				return
			}
			n++
		}
		yieldMissed(nil)
	}
}

// index returns an index that was read before; name is the checksum of its
// text, or the key and ETag of its object.
func (k *Known) index(name string) *Index {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.indexes[name]
}

func (k *Known) putIndex(name string, x *Index) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.indexes) >= maxIndexes {
		clear(k.indexes)
	}
	k.indexes[name] = x
}

// maxIndexes is how many indexes are remembered while a run lasts.
const maxIndexes = 8

// tarballFolders returns the folders of layout v2 in which the last full scan
// has found tarballs: all that a listing of spec files need not see.
func (k *Known) tarballFolders() []string { return k.folders }
