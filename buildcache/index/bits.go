package index

import (
	"iter"
	"math/bits"
)

// Bits is a set of nodes.
type Bits []uint64

// NewBits returns an empty set for a graph of that many nodes.
func NewBits(nodes int) Bits { return make(Bits, (nodes+63)/64) }

// Has reports whether a node is in the set.
func (b Bits) Has(id uint32) bool {
	return int(id/64) < len(b) && b[id/64]>>(id%64)&1 != 0
}

// Set puts a node into the set.
func (b Bits) Set(id uint32) { b[id/64] |= 1 << (id % 64) }

// Clear takes a node out of the set.
func (b Bits) Clear(id uint32) { b[id/64] &^= 1 << (id % 64) }

// Add puts all nodes of another set of the same graph into this one.
func (b Bits) Add(other Bits) {
	for i, word := range other {
		b[i] |= word
	}
}

// Count returns the number of nodes.
func (b Bits) Count() int {
	n := 0
	for _, word := range b {
		n += bits.OnesCount64(word)
	}
	return n
}

// All yields the nodes in ascending order.
func (b Bits) All() iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for i, word := range b {
			for ; word != 0; word &= word - 1 {
				if !yield(uint32(i*64 + bits.TrailingZeros64(word))) {
					return
				}
			}
		}
	}
}
