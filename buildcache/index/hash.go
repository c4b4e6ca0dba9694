package index

import (
	"encoding/base32"
	"encoding/binary"
	"math/bits"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A hash is a DAG hash without its base32, in words, since those compare fast.
type hash struct{ a, b, c, d, e uint32 }

const hashLen = 32 // of the text

// bad marks characters that are not of Spack's alphabet.
const bad = 1 << 7

var (
	alphabet = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

	// digits holds the values of the characters.
	digits = func() (d [256]uint8) {
		for c := range d {
			d[c] = bad
		}
		for i, c := range "abcdefghijklmnopqrstuvwxyz234567" {
			d[c] = uint8(i)
		}
		return d
	}()
)

func parseHash(text []byte) (h hash, ok bool) {
	if len(text) != hashLen {
		return h, false
	}
	var seen uint8
	var parts [4]uint64 // eight characters each: 40 bits
	for i := range parts {
		var v uint64
		for _, c := range text[8*i : 8*i+8] {
			d := digits[c]
			seen |= d
			v = v<<5 | uint64(d)
		}
		parts[i] = v
	}
	return hash{
		a: uint32(parts[0] >> 8),
		b: uint32(parts[0]<<24) | uint32(parts[1]>>16),
		c: uint32(parts[1]<<16) | uint32(parts[2]>>24),
		d: uint32(parts[2]<<8) | uint32(parts[3]>>32),
		e: uint32(parts[3]),
	}, seen&bad == 0
}

func (h hash) text() buildcache.Hash {
	var b [20]byte
	for i, word := range [...]uint32{h.a, h.b, h.c, h.d, h.e} {
		binary.BigEndian.PutUint32(b[4*i:], word)
	}
	return buildcache.Hash(alphabet.EncodeToString(b[:]))
}

// mix returns bits that depend on a seed, so that no writer can choose hashes
// that collide.
func (h hash) mix(seed [2]uint64) uint64 {
	hi, lo := bits.Mul64(uint64(h.a)<<32|uint64(h.b)^seed[0], uint64(h.c)<<32|uint64(h.d)^seed[1])
	return hi ^ lo ^ uint64(h.e)
}
