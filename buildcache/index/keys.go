package index

import (
	"bytes"
	"hash/maphash"
	"slices"
)

// keys remembers the keys of the objects that are open, to find those that are
// there twice: two readers could go by different ones. It keeps 64 random
// bits of each. One that is nil remembers nothing.
type keys struct {
	seed    maphash.Seed
	hashes  []uint64 // outermost object first
	objects []object
}

// An object is one that is open.
type object struct {
	first int                 // of its keys in hashes
	many  map[uint64]struct{} // its keys, where they are too many to look through
}

const manyKeys = 64 // more than those are too many

func newKeys() *keys { return &keys{seed: maphash.MakeSeed()} }

// has takes a key of the innermost object, of which n were there before: the
// first one opens it. It reports whether the object has that key already.
func (k *keys) has(n int, key []byte) bool {
	if k == nil {
		return false
	}
	if n == 0 {
		k.objects = append(k.objects, object{first: len(k.hashes)})
	}
	return k.objects[len(k.objects)-1].add(k, maphash.Bytes(k.seed, key))
}

// add is has for an object of k.
func (o *object) add(k *keys, h uint64) (again bool) {
	if o.many != nil {
		_, again = o.many[h]
		o.many[h] = struct{}{}
		return again
	}
	again = slices.Contains(k.hashes[o.first:], h)
	k.hashes = append(k.hashes, h)
	if own := k.hashes[o.first:]; len(own) > manyKeys {
		o.many = make(map[uint64]struct{}, 2*manyKeys)
		for _, h := range own {
			o.many[h] = struct{}{}
		}
	}
	return again
}

// close ends the innermost object, which has n keys.
func (k *keys) close(n int) {
	if k == nil || n == 0 {
		return
	}
	last := len(k.objects) - 1
	k.hashes, k.objects = k.hashes[:k.objects[last].first], k.objects[:last]
}

// A keyMark is a point to which keys can go back, as long as what was open
// then is.
type keyMark struct{ hashes, objects int }

func (k *keys) mark() keyMark {
	if k == nil {
		return keyMark{}
	}
	return keyMark{len(k.hashes), len(k.objects)}
}

func (k *keys) reset(to keyMark) {
	if k != nil {
		k.hashes, k.objects = k.hashes[:to.hashes], k.objects[:to.objects]
	}
}

// counted are the keys that the reader of lockfiles goes by.
var counted = [][]byte{
	[]byte("_meta"), []byte("file-type"), []byte("lockfile-version"),
	[]byte("roots"), []byte("concrete_specs"), []byte("include_concrete"),
	[]byte("name"), []byte("version"), []byte("hash"), []byte("external"), []byte("build_spec"),
	[]byte("dependencies"), []byte("parameters"), []byte("deptypes"), []byte("type"),
}

// ignore skips the value of a key that the reader does not go by.
func (s *scanner) ignore(key []byte) error {
	if err := s.spelling(key); err != nil {
		return err
	}
	return s.skip()
}

// spelling refuses in a lockfile what is a counted key but for capitals: to
// encoding/json they are the same, to Spack they are not.
func (s *scanner) spelling(key []byte) error {
	if s.keys == nil || isLower(key) {
		return nil
	}
	for _, name := range counted {
		if bytes.EqualFold(key, name) {
			return s.fail("the key %q is not spelt %q", key, name)
		}
	}
	return nil
}

func isLower(key []byte) bool {
	for _, c := range key {
		if 'A' <= c && c <= 'Z' || c >= 0x80 {
			return false
		}
	}
	return true
}
