package index

import (
	"encoding/binary"
	"math/bits"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// spacksDependency reads a dependency that stands there exactly as Spack writes
// it today: they are half of the bytes of an index. Of anything else it says
// that it is not, and consumes nothing; dependency is the one that judges.
func (p *reader) spacksDependency() (d dep, ok bool) {
	b := p.buf[p.i:]
	if b, ok = after(b, `{"name":"`); !ok {
		return d, false
	}
	if b, ok = afterText(b); !ok {
		return d, false
	}
	if b, ok = after(b, `,"hash":"`); !ok || len(b) < hashLen {
		return d, false
	}
	if d.hash, ok = parseHash(b[:hashLen]); !ok {
		return d, false
	}
	if b, ok = after(b[hashLen:], `","parameters":{"deptypes":["`); !ok {
		return d, false
	}
	for more := true; more; {
		var t buildcache.DepTypes
		if b, t = afterType(b); t == 0 {
			return d, false
		}
		d.types |= t
		b, more = after(b, `,"`)
	}
	if b, ok = after(b, `],"virtuals":[`); !ok {
		return d, false
	}
	if rest, some := after(b, `"`); some { // more than one are rare
		if b, ok = afterText(rest); !ok {
			return d, false
		}
	}
	if b, ok = after(b, `]}}`); !ok {
		return d, false
	}
	p.i = len(p.buf) - len(b)
	return d, true
}

// after returns what follows prefix, or b if it does not begin with that.
func after(b []byte, prefix string) (rest []byte, ok bool) {
	if len(b) < len(prefix) || string(b[:len(prefix)]) != prefix {
		return b, false
	}
	return b[len(prefix):], true
}

// afterText returns what follows the quote behind a text that is ASCII without
// escapes.
func afterText(b []byte) (rest []byte, ok bool) {
	for len(b) >= 8 {
		if found := special(binary.LittleEndian.Uint64(b)); found != 0 {
			i := bits.TrailingZeros64(found) / 8
			return b[i+1:], b[i] == '"'
		}
		b = b[8:]
	}
	return b, false // near the end of the window
}

// afterType reads the rest of the name of a type; 0 is none.
func afterType(b []byte) (rest []byte, t buildcache.DepTypes) {
	for _, known := range types {
		if rest, ok := after(b, known.quoted); ok {
			return rest, known.types
		}
	}
	return b, 0
}

var types = [...]struct {
	quoted string
	types  buildcache.DepTypes
}{
	{`link"`, buildcache.Link},
	{`build"`, buildcache.Build},
	{`run"`, buildcache.Run},
	{`test"`, buildcache.Test},
}
