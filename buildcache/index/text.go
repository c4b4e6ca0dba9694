package index

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math/bits"
	"unicode/utf8"
)

// str consumes a string and returns what it means.
func (s *scanner) str() ([]byte, error) {
	if err := s.expect('"'); err != nil {
		return nil, err
	}
	start := s.i
	plain, err := s.strEnd()
	if err != nil {
		return nil, err
	}
	text := s.buf[start : s.i-1]
	if plain || utf8.Valid(text) && bytes.IndexByte(text, '\\') < 0 {
		return text, nil
	}
	var decoded string
	if err := json.Unmarshal(s.buf[start-1:s.i], &decoded); err != nil {
		return nil, s.failAt(s.offset(start), "%v", err)
	}
	return append([]byte{}, decoded...), nil
}

// Eight bytes at a time: each constant repeats a byte.
const (
	lows    = 0x0101010101010101
	highs   = 0x8080808080808080
	quotes  = lows * '"'
	slashes = lows * '\\'
	spaces  = lows * ' '
)

// special has the high bit of the first byte set that is a quote, a backslash,
// a control character or not ASCII; bits above that one may be wrong.
func special(w uint64) uint64 {
	quote, slash := w^quotes, w^slashes
	return ((quote - lows) | (slash - lows) | (w - spaces) | w) & highs
}

// strEnd consumes the rest of a string, behind its first quote. plain says that
// the text is ASCII without escapes.
func (s *scanner) strEnd() (plain bool, err error) {
	b, i := s.buf, s.i
	plain = true
	for {
		for i+8 <= len(b) {
			found := special(binary.LittleEndian.Uint64(b[i:]))
			if found != 0 {
				i += bits.TrailingZeros64(found) / 8
				break
			}
			i += 8
		}
		if i >= len(b) {
			return false, errShort
		}
		switch c := b[i]; {
		case c == '"':
			s.i = i + 1
			return plain, nil
		case c == '\\':
			plain = false
			s.i = i
			if err := s.escape(); err != nil {
				return false, err
			}
			i = s.i
		case c < ' ':
			return false, s.failAt(s.offset(i), "control character %q in a string", c)
		case c >= utf8.RuneSelf:
			plain = false // encoding/json takes broken UTF-8, too
			i++
		default:
			i++
		}
	}
}

// escape consumes a backslash and what belongs to it.
func (s *scanner) escape() error {
	if s.i+1 >= len(s.buf) {
		return errShort
	}
	switch c := s.buf[s.i+1]; c {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.i += 2
		return nil
	case 'u':
		for i := s.i + 2; i < s.i+6; i++ {
			if i >= len(s.buf) {
				return errShort
			}
			if !isHex(s.buf[i]) {
				return s.failAt(s.offset(i), "%q in a \\u escape", s.buf[i])
			}
		}
		s.i += 6
		return nil
	default:
		return s.fail("unknown escape %q in a string", `\`+string(rune(c)))
	}
}

func isHex(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
