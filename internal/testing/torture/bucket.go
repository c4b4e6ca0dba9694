package torture

import (
	"crypto/md5"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// An object is one of the bucket.
type object struct {
	body    []byte
	etag    string    // of the body alone, as S3 makes it: the same bytes written again have the same one
	mod     time.Time // by the store's clock, in whole seconds as HTTP has it
	written time.Time // in truth
	there   time.Time // since when something is at the key
	by      *Actor
}

// A Bucket holds objects and nothing else. World guards it.
type Bucket struct {
	objects map[string]*object
	keys    []string // sorted
	past    []change // for listings that are behind
}

// A change is what a key held until some time; nil is nothing.
type change struct {
	at  time.Time
	key string
	was *object
}

func newBucket() *Bucket { return &Bucket{objects: map[string]*object{}} }

func (b *Bucket) put(key string, o *object) {
	if o.etag == "" {
		o.etag = etag(o.body)
	}
	if _, there := b.objects[key]; !there {
		i, _ := slices.BinarySearch(b.keys, key)
		b.keys = slices.Insert(b.keys, i, key)
	}
	o.there = o.written
	if was := b.objects[key]; was != nil {
		o.there = was.there
	}
	b.past = append(b.past, change{o.written, key, b.objects[key]})
	b.objects[key] = o
}

func (b *Bucket) remove(key string, at time.Time) {
	if _, there := b.objects[key]; !there {
		return
	}
	i, _ := slices.BinarySearch(b.keys, key)
	b.keys = slices.Delete(b.keys, i, i+1)
	b.past = append(b.past, change{at, key, b.objects[key]})
	delete(b.objects, key)
}

// A listed object is a line of a listing.
type listed struct {
	key string
	*object
}

// page returns up to n objects with a prefix whose keys come after another.
func (b *Bucket) page(prefix, after string, n int) (page []listed, more bool) {
	i, _ := slices.BinarySearch(b.keys, max(prefix, after+"\x00"))
	for ; i < len(b.keys) && strings.HasPrefix(b.keys[i], prefix); i++ {
		if len(page) == n {
			return page, true
		}
		page = append(page, listed{b.keys[i], b.objects[b.keys[i]]})
	}
	return page, false
}

// at returns the bucket as it was at some time.
func (b *Bucket) at(then time.Time) *Bucket {
	old := &Bucket{objects: map[string]*object{}}
	for key, o := range b.objects {
		old.objects[key] = o
	}
	for i := len(b.past) - 1; i >= 0 && b.past[i].at.After(then); i-- {
		if c := b.past[i]; c.was == nil {
			delete(old.objects, c.key)
		} else {
			old.objects[c.key] = c.was
		}
	}
	for key := range old.objects {
		old.keys = append(old.keys, key)
	}
	slices.Sort(old.keys)
	return old
}

func etag(body []byte) string {
	sum := md5.Sum(body)
	return hex.EncodeToString(sum[:])
}
