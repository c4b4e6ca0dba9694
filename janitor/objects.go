package janitor

import (
	"bytes"
	"container/heap"
	"encoding/binary"
	"encoding/hex"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// An objectID numbers the objects of a scan, in the order of their keys.
type objectID = uint32

// An object is what a listing says of one, without its key: 48 bytes.
type object struct {
	size    int64
	written int64  // nanoseconds since 1970
	of      uint32 // spec in its key, or blob that manifests name: its number + 1; 0 if there is none
	etag    etag
	kind    Kind
}

// objects are all that was listed.
type objects struct {
	keys keyList
	list []object
	odd  []string // ETags that are no MD5 sums
}

func (o *objects) key(i objectID) string { return o.keys.at(i) }

func (o *objects) find(key string) (objectID, bool) { return o.keys.find(key) }

// all yields the objects with their keys, which are valid for one step.
func (o *objects) all() iter.Seq2[objectID, []byte] {
	return func(yield func(objectID, []byte) bool) {
		c := o.keys.cursor()
		for i := objectID(0); c.next(); i++ {
			if !yield(i, c.key) {
				return
			}
		}
	}
}

// get returns an object as the store said it.
func (o *objects) get(i objectID) buildcache.Object {
	x := &o.list[i]
	return buildcache.Object{Key: o.key(i), Size: x.size, ETag: o.etag(x.etag), ModTime: x.time()}
}

func (o *object) time() time.Time { return time.Unix(0, o.written).UTC() }

// An etag is one in 20 bytes: the MD5 sum that most are, the number of parts
// that some have behind it, or else a number in objects.odd.
type etag struct {
	sum   [16]byte
	parts uint16
	form  etagForm
}

type etagForm uint8

const (
	noETag etagForm = iota
	md5ETag
	partsETag
	oddETag
)

func (o *objects) pack(text string) (e etag) {
	sum, parts, multi := strings.Cut(text, "-")
	n, err := uint64(0), error(nil)
	if multi {
		n, err = strconv.ParseUint(parts, 10, 16)
	}
	switch _, hexErr := hex.Decode(e.sum[:], []byte(sum[:min(len(sum), 32)])); {
	case text == "":
	case hexErr == nil && err == nil && len(sum) == 32 && sum == strings.ToLower(sum) && (!multi || parts == strconv.FormatUint(n, 10)):
		e.form, e.parts = md5ETag, uint16(n)
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

func (o *objects) etag(e etag) string {
	switch e.form {
	case md5ETag:
		return hex.EncodeToString(e.sum[:])
	case partsETag:
		return hex.EncodeToString(e.sum[:]) + "-" + strconv.Itoa(int(e.parts))
	case oddETag:
		return o.odd[binary.LittleEndian.Uint64(e.sum[:])]
	}
	return ""
}

// A collector takes a listing that comes in pieces, each of them in order, and
// puts them together.
type collector struct {
	runs []*objects
	last *objects // where the object before went
}

// add takes an object into the run whose last key it follows most closely.
func (c *collector) add(o buildcache.Object, kind Kind) {
	run := c.last
	if run == nil || string(run.keys.last) >= o.Key {
		run = nil
		for _, r := range c.runs {
			if string(r.keys.last) < o.Key && (run == nil || bytes.Compare(r.keys.last, run.keys.last) > 0) {
				run = r
			}
		}
	}
	if run == nil {
		run = &objects{}
		c.runs = append(c.runs, run)
	}
	c.last = run
	run.append(o, kind)
}

func (o *objects) append(x buildcache.Object, kind Kind) {
	o.keys.add(x.Key)
	o.list = append(o.list, object{size: x.Size, written: x.ModTime.UnixNano(), etag: o.pack(x.ETag), kind: kind})
}

// merge returns all runs in one. An object that was listed twice counts once.
func merge(collectors []collector) *objects {
	var heads runHeap
	n := 0
	for _, c := range collectors {
		for _, r := range c.runs {
			n += len(r.list)
			if h := (&runHead{run: r, keys: r.keys.cursor()}); h.keys.next() {
				heads = append(heads, h)
			}
		}
	}
	if len(heads) == 1 {
		return heads[0].run
	}
	heap.Init(&heads)
	all := &objects{list: make([]object, 0, n)}
	for len(heads) > 0 {
		h := heads[0]
		if all.keys.n == 0 || !bytes.Equal(all.keys.last, h.keys.key) {
			x := h.run.list[h.at]
			if x.etag.form == oddETag {
				x.etag = all.pack(h.run.etag(x.etag))
			}
			all.keys.add(string(h.keys.key))
			all.list = append(all.list, x)
		}
		h.at++
		if h.keys.next() {
			heap.Fix(&heads, 0)
		} else {
			heap.Pop(&heads)
		}
	}
	return all
}

// A runHead is what comes next of a run.
type runHead struct {
	run  *objects
	keys keyCursor
	at   int
}

type runHeap []*runHead

func (h runHeap) Len() int           { return len(h) }
func (h runHeap) Less(i, j int) bool { return bytes.Compare(h[i].keys.key, h[j].keys.key) < 0 }
func (h runHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *runHeap) Push(x any)        { *h = append(*h, x.(*runHead)) }
func (h *runHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
