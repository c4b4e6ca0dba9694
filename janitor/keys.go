package janitor

import (
	"encoding/binary"
	"sort"
)

// A keyList holds keys in ascending order, of each only what it does not share
// with the one before it: some 60 bytes instead of 120.
type keyList struct {
	text   []byte
	blocks []uint32 // where every 16th key begins, which shares nothing
	n      int
	last   []byte
}

const block = 16

// add appends a key that is greater than all others.
func (k *keyList) add(key []byte) {
	shared := 0
	if k.n%block == 0 {
		k.blocks = append(k.blocks, uint32(len(k.text)))
	} else {
		for shared < min(len(k.last), len(key)) && k.last[shared] == key[shared] {
			shared++
		}
	}
	k.text = binary.AppendUvarint(k.text, uint64(shared))
	k.text = binary.AppendUvarint(k.text, uint64(len(key)-shared))
	k.text = append(k.text, key[shared:]...)
	k.last = append(k.last[:shared], key[shared:]...)
	k.n++
}

// A keyCursor reads keys one after the other.
type keyCursor struct {
	text []byte
	key  []byte // valid until the next one is read
}

// next returns false at the end.
func (c *keyCursor) next() bool {
	if len(c.text) == 0 {
		return false
	}
	shared, n := binary.Uvarint(c.text)
	c.text = c.text[n:]
	own, n := binary.Uvarint(c.text)
	c.key = append(c.key[:shared], c.text[n:n+int(own)]...)
	c.text = c.text[n+int(own):]
	return true
}

func (k *keyList) cursor() keyCursor { return keyCursor{text: k.text} }

// at returns a key by its number.
func (k *keyList) at(i uint32) string {
	c := keyCursor{text: k.text[k.blocks[i/block]:]}
	for range i%block + 1 {
		c.next()
	}
	return string(c.key)
}

// find returns the number of the first key that is not less than key, and
// whether it is that one.
func (k *keyList) find(key string) (uint32, bool) {
	b := sort.Search(len(k.blocks), func(b int) bool {
		c := keyCursor{text: k.text[k.blocks[b]:]}
		return c.next() && string(c.key) > key
	})
	if b == 0 {
		return 0, false
	}
	i := uint32(b-1) * block
	for c := (keyCursor{text: k.text[k.blocks[b-1]:]}); c.next(); i++ {
		if string(c.key) >= key {
			return i, string(c.key) == key
		}
	}
	return i, false
}
