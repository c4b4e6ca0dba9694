package index

import "math/rand/v2"

// A table finds nodes by hash: open addressing, with nothing but the number
// of the node in a slot.
type table struct {
	slots []uint32 // number of the node + 1; 0 is free; a power of two of them
	used  int
	seed  [2]uint64
}

func newTable() table {
	return table{slots: make([]uint32, 64), seed: [2]uint64{rand.Uint64(), rand.Uint64()}}
}

// slot returns where h is, or the free slot where it belongs.
func (t *table) slot(h hash, hashes []hash) int {
	mask := len(t.slots) - 1
	i := int(h.mix(t.seed)) & mask
	for t.slots[i] != 0 && hashes[t.slots[i]-1] != h {
		i = (i + 1) & mask
	}
	return i
}

func (t *table) find(h hash, hashes []hash) (id uint32, ok bool) {
	v := t.slots[t.slot(h, hashes)]
	return v - 1, v != 0
}

// put enters the last of hashes into the free slot that is its own.
func (t *table) put(slot int, hashes []hash) {
	t.slots[slot] = uint32(len(hashes))
	if t.used++; t.used*4 <= len(t.slots)*3 {
		return
	}
	*t = table{slots: make([]uint32, 2*len(t.slots)), used: t.used, seed: t.seed}
	for i, h := range hashes {
		t.slots[t.slot(h, hashes)] = uint32(i + 1)
	}
}

// strings keeps each string once: packages come in many specs.
type strings struct {
	all []string // the first one is empty
	ids map[string]uint32
}

func newStrings() strings {
	return strings{all: []string{""}, ids: map[string]uint32{"": 0}}
}

func (s *strings) intern(text []byte) uint32 {
	if id, ok := s.ids[string(text)]; ok {
		return id
	}
	id := uint32(len(s.all))
	s.all = append(s.all, string(text))
	s.ids[s.all[id]] = id
	return id
}
