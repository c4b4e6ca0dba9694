// Package listing holds what a mirror lists, in little memory and in order. It knows nothing of specs.
package listing

import (
	"bytes"
	"container/heap"
	"encoding/binary"
	"encoding/hex"
	"iter"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// An ID numbers the objects of a scan, in the order of their keys.
type ID = uint32

// An Object is what a listing says of one, without its key: 40 bytes.
type Object struct {
	Size    int64
	Written int64  // nanoseconds since 1970
	Of      uint32 // spec in its key, or blob that manifests name: its number + 1; 0 if there is none
	ETag    etag
	Kind    buildcache.Kind
}

// Objects are all that was listed, in the order of their keys.
type Objects struct {
	chunks []*chunk
	first  []ID     // of each chunk
	odd    []string // ETags that are no MD5 sums
}

// A chunk is a number of objects that follow each other. In chunks a list can
// grow without being copied, and become part of another one.
type chunk struct {
	keys KeyList
	list []Object // not more than chunkLen
}

const (
	chunkBits = 12
	chunkLen  = 1 << chunkBits
)

// Len returns how many there are.
func (o *Objects) Len() int {
	if len(o.chunks) == 0 {
		return 0
	}
	last := len(o.chunks) - 1
	return int(o.first[last]) + len(o.chunks[last].list)
}

// where returns the chunk that an object is in, and its place there. Few chunks
// are not full, so that it is this one or one of the next.
func (o *Objects) where(i ID) (*chunk, uint32) {
	n := int(i >> chunkBits)
	for n+1 < len(o.first) && o.first[n+1] <= i {
		n++
	}
	return o.chunks[n], i - o.first[n]
}

// At returns an object by its number.
func (o *Objects) At(i ID) *Object {
	c, n := o.where(i)
	return &c.list[n]
}

// Key returns the key of an object.
func (o *Objects) Key(i ID) string {
	c, n := o.where(i)
	return c.keys.at(n)
}

// Find returns the number of the first object whose key is not less than key,
// and whether it is that one.
func (o *Objects) Find(key string) (ID, bool) {
	n := sort.Search(len(o.chunks), func(n int) bool { return o.chunks[n].keys.at(0) > key })
	if n == 0 {
		return 0, false
	}
	i, ok := o.chunks[n-1].keys.Find(key)
	return o.first[n-1] + i, ok
}

// All yields the objects with their keys, which are valid for one step.
func (o *Objects) All() iter.Seq2[ID, []byte] {
	return func(yield func(ID, []byte) bool) {
		var i ID
		for _, c := range o.chunks {
			for keys := c.keys.Cursor(); keys.Next(); i++ {
				if !yield(i, keys.Key) {
					return
				}
			}
		}
	}
}

// last returns the greatest key.
func (o *Objects) last() []byte {
	if len(o.chunks) == 0 {
		return nil
	}
	return o.chunks[len(o.chunks)-1].keys.Last
}

// add appends an object whose key is greater than all others.
func (o *Objects) add(key []byte, x Object) {
	n := len(o.chunks)
	if n == 0 || len(o.chunks[n-1].list) == chunkLen {
		c := &chunk{list: make([]Object, 0, chunkLen)}
		if n > 0 { // most are alike
			like := len(o.chunks[n-1].keys.text)
			c.keys.text = make([]byte, 0, like+like/16)
		}
		o.addChunk(c)
		n++
	}
	c := o.chunks[n-1]
	c.keys.Add(key)
	c.list = append(c.list, x)
}

// addChunk appends objects whose keys are greater than all others.
func (o *Objects) addChunk(c *chunk) {
	o.first = append(o.first, ID(o.Len()))
	o.chunks = append(o.chunks, c)
}

// take makes the ETag of an object of another list one of this.
func (o *Objects) take(x *Object, from *Objects) {
	if x.ETag.form == oddETag {
		x.ETag = o.pack(from.ETag(x.ETag))
	}
}

// Get returns an object as the store said it.
func (o *Objects) Get(i ID) buildcache.Object {
	x := o.At(i)
	return buildcache.Object{Key: o.Key(i), Size: x.Size, ETag: o.ETag(x.ETag), ModTime: x.Time()}
}

// Time returns when the object was written.
func (o *Object) Time() time.Time { return time.Unix(0, o.Written).UTC() }

// An etag is one in 19 bytes: the MD5 sum that most are, the number of parts
// that some have behind it, or else a number in objects.odd.
type etag struct {
	sum   [16]byte
	parts [2]byte // little-endian
	form  etagForm
}

type etagForm uint8

const (
	noETag etagForm = iota
	md5ETag
	partsETag
	oddETag
)

func (o *Objects) pack(text string) (e etag) {
	sum, parts, multi := strings.Cut(text, "-")
	n, err := uint64(0), error(nil)
	if multi {
		n, err = strconv.ParseUint(parts, 10, 16)
	}
	switch _, hexErr := hex.Decode(e.sum[:], []byte(sum[:min(len(sum), 32)])); {
	case text == "":
	case hexErr == nil && err == nil && len(sum) == 32 && !strings.ContainsFunc(sum, isCapital) && (!multi || parts == strconv.FormatUint(n, 10)):
		e.form = md5ETag
		binary.LittleEndian.PutUint16(e.parts[:], uint16(n))
		if multi {
			e.form = partsETag
		}
	default:
		e.form = oddETag
		binary.LittleEndian.PutUint64(e.sum[:], uint64(len(o.odd)))
		o.odd = append(o.odd, text)
	}
	return e
}

func isCapital(r rune) bool { return r >= 'A' && r <= 'Z' }

// ETag returns one as the store said it.
func (o *Objects) ETag(e etag) string {
	switch e.form {
	case md5ETag:
		return hex.EncodeToString(e.sum[:])
	case partsETag:
		return hex.EncodeToString(e.sum[:]) + "-" + strconv.Itoa(int(binary.LittleEndian.Uint16(e.parts[:])))
	case oddETag:
		return o.odd[binary.LittleEndian.Uint64(e.sum[:])]
	}
	return ""
}

// Stamp appends what tells the content of an object from any other under its
// key: ETag and size. It appends nothing if there is no ETag.
func (o *Objects) Stamp(to []byte, i ID) []byte {
	x := o.At(i)
	e := x.ETag
	if e.form == noETag {
		return to
	}
	to = binary.AppendUvarint(append(to, byte(e.form)), uint64(x.Size))
	if e.form == oddETag {
		return append(to, o.ETag(e)...)
	}
	return append(append(to, e.parts[:]...), e.sum[:]...)
}

// A Collector takes a listing that comes in pieces, each of them in order, and
// puts them together.
type Collector struct {
	runs []*Objects
	last *Objects // where the object before went
	end  []byte   // a key from which on another run is closer; nil: none is
	key  []byte
}

// Len returns how many objects came so far.
func (c *Collector) Len() (n int) {
	for _, r := range c.runs {
		n += r.Len()
	}
	return n
}

// Add takes an object into the run whose last key it follows most closely.
func (c *Collector) Add(o buildcache.Object, kind buildcache.Kind) {
	c.key = append(c.key[:0], o.Key...)
	follows := func(r *Objects) bool { return bytes.Compare(r.last(), c.key) < 0 }
	run := c.last
	other := run == nil || !follows(run) || c.end != nil && bytes.Compare(c.end, c.key) <= 0
	if other {
		run = nil
		for _, r := range c.runs {
			if follows(r) && (run == nil || bytes.Compare(r.last(), run.last()) > 0) {
				run = r
			}
		}
	}
	if run == nil {
		run = &Objects{}
		c.runs = append(c.runs, run)
	}
	run.add(c.key, Object{Size: o.Size, Written: o.ModTime.UnixNano(), ETag: run.pack(o.ETag), Kind: kind})
	if !other {
		return
	}
	c.last, c.end = run, nil
	for _, r := range c.runs {
		if !follows(r) && r != run && (c.end == nil || bytes.Compare(r.last(), c.end) < 0) {
			c.end = r.last()
		}
	}
}

// Merge returns all runs in one. An object that was listed twice counts once.
// The runs are taken apart: chunks that lie between those of others are not
// copied.
func Merge(collectors []Collector) *Objects {
	var heads runHeap
	for _, c := range collectors {
		for _, r := range c.runs {
			if h := (&runHead{run: r}); h.next() {
				heads = append(heads, h)
			}
		}
	}
	if len(heads) == 1 {
		return heads[0].run
	}
	heap.Init(&heads)
	all := &Objects{}
	for len(heads) > 0 {
		h := heads[0]
		c, more := h.run.chunks[h.chunk], false
		isNew := all.Len() == 0 || !bytes.Equal(all.last(), h.keys.Key)
		if isNew && h.at == 0 && heads.before(c.keys.Last) {
			for i := range c.list {
				all.take(&c.list[i], h.run)
			}
			all.addChunk(c)
			more = h.skip()
		} else {
			if x := c.list[h.at]; isNew {
				all.take(&x, h.run)
				all.add(h.keys.Key, x)
			}
			more = h.next()
		}
		if more {
			heap.Fix(&heads, 0)
		} else {
			heap.Pop(&heads)
		}
	}
	return all
}

// A runHead is what comes next of a run.
type runHead struct {
	run       *Objects
	keys      keyCursor
	chunk, at int
	begun     bool
}

// next returns false at the end.
func (h *runHead) next() bool {
	switch {
	case !h.begun:
		h.begun = true
		return h.open(0)
	case h.keys.Next():
		h.at++
		return true
	}
	return h.skip()
}

// skip goes to the next chunk, and gives up the one that it was in.
func (h *runHead) skip() bool {
	h.run.chunks[h.chunk] = nil
	return h.open(h.chunk + 1)
}

func (h *runHead) open(chunk int) bool {
	if chunk == len(h.run.chunks) {
		return false
	}
	h.chunk, h.at = chunk, 0
	h.keys = h.run.chunks[chunk].keys.Cursor()
	return h.keys.Next()
}

type runHeap []*runHead

func (h runHeap) Len() int           { return len(h) }
func (h runHeap) Less(i, j int) bool { return bytes.Compare(h[i].keys.Key, h[j].keys.Key) < 0 }
func (h runHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// before reports whether a key comes before all that follow the first head.
func (h runHeap) before(key []byte) bool {
	for i := 1; i < min(3, len(h)); i++ {
		if bytes.Compare(key, h[i].keys.Key) >= 0 {
			return false
		}
	}
	return true
}

func (h *runHeap) Push(x any) { *h = append(*h, x.(*runHead)) }
func (h *runHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
