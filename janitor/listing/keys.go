package listing

import (
	"encoding/binary"
	"sort"
)

// A KeyList holds keys in ascending order, of each only what it does not share
// with the one before it: some 60 bytes instead of 120.
type KeyList struct {
	text   []byte
	blocks []uint32 // where every 16th key begins, which shares nothing
	N      int
	Last   []byte
}

const block = 16

// Add appends a key that is greater than all others.
func (k *KeyList) Add(key []byte) {
	shared := 0
	if k.N%block == 0 {
		k.blocks = append(k.blocks, uint32(len(k.text)))
	} else {
		for shared < min(len(k.Last), len(key)) && k.Last[shared] == key[shared] {
			shared++
		}
	}
	k.text = binary.AppendUvarint(k.text, uint64(shared))
	k.text = binary.AppendUvarint(k.text, uint64(len(key)-shared))
	k.text = append(k.text, key[shared:]...)
	k.Last = append(k.Last[:shared], key[shared:]...)
	k.N++
}

// A keyCursor reads keys one after the other.
type keyCursor struct {
	text []byte
	Key  []byte // valid until the next one is read
}

// Next returns false at the end.
func (c *keyCursor) Next() bool {
	if len(c.text) == 0 {
		return false
	}
	shared, n := binary.Uvarint(c.text)
	c.text = c.text[n:]
	own, n := binary.Uvarint(c.text)
	c.Key = append(c.Key[:shared], c.text[n:n+int(own)]...)
	c.text = c.text[n+int(own):]
	return true
}

// Cursor begins to read all keys.
func (k *KeyList) Cursor() keyCursor { return keyCursor{text: k.text} }

// at returns a key by its number.
func (k *KeyList) at(i uint32) string {
	c := keyCursor{text: k.text[k.blocks[i/block]:]}
	for range i%block + 1 {
		c.Next()
	}
	return string(c.Key)
}

// Find returns the number of the first key that is not less than key, and
// whether it is that one.
func (k *KeyList) Find(key string) (uint32, bool) {
	b := sort.Search(len(k.blocks), func(b int) bool {
		c := keyCursor{text: k.text[k.blocks[b]:]}
		return c.Next() && string(c.Key) > key
	})
	if b == 0 {
		return 0, false
	}
	i := uint32(b-1) * block
	for c := (keyCursor{text: k.text[k.blocks[b-1]:]}); c.Next(); i++ {
		if string(c.Key) >= key {
			return i, string(c.Key) == key
		}
	}
	return i, false
}
