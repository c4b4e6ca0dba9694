package index

import (
	"encoding/base32"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A hash is a DAG hash without its base32.
type hash [20]byte

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
	for i := range 4 { // eight characters are five bytes
		var v uint64
		for _, c := range text[8*i : 8*i+8] {
			d := digits[c]
			seen |= d
			v = v<<5 | uint64(d)
		}
		out := h[5*i : 5*i+5]
		out[0], out[1], out[2], out[3], out[4] = byte(v>>32), byte(v>>24), byte(v>>16), byte(v>>8), byte(v)
	}
	return h, seen&bad == 0
}

func (h hash) text() buildcache.Hash { return buildcache.Hash(alphabet.EncodeToString(h[:])) }
