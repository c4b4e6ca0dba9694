package index

import (
	"encoding/binary"
	"encoding/json"
	"math/bits"
	"unicode/utf8"
)

const maxDepth = 10000 // as encoding/json has it

// space passes white space and returns the byte behind it, which is not
// consumed.
func (s *scanner) space() (byte, error) {
	for i := s.i; i < len(s.buf); i++ {
		c := s.buf[i]
		if c > ' ' || c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			s.i = i
			return c, nil
		}
	}
	s.i = len(s.buf)
	return 0, errShort
}

// expect consumes c, and white space before it.
func (s *scanner) expect(c byte) error {
	if s.i < len(s.buf) && s.buf[s.i] == c {
		s.i++
		return nil
	}
	return s.expectBehind(c)
}

func (s *scanner) expectBehind(c byte) error {
	got, err := s.space()
	if err != nil {
		return err
	}
	if got != c {
		return s.fail("want %q, got %q", c, got)
	}
	s.i++
	return nil
}

// enter consumes the bracket that opens an object or array.
func (s *scanner) enter(bracket byte) error {
	if err := s.expect(bracket); err != nil {
		return err
	}
	if s.depth++; s.depth > maxDepth {
		return s.fail("more than %d objects and arrays within each other", maxDepth)
	}
	return nil
}

// more consumes the comma before the next of n values, or the bracket that
// closes their object or array.
func (s *scanner) more(n int, bracket byte) (bool, error) {
	if n > 0 && s.i < len(s.buf) && s.buf[s.i] == ',' {
		s.i++
		return true, nil
	}
	c, err := s.space()
	switch {
	case err != nil:
		return false, err
	case c == bracket:
		s.i++
		s.depth--
		return false, nil
	case n == 0:
		return true, nil
	case c == ',':
		s.i++
		return true, nil
	}
	return false, s.fail("want ',' or %q, got %q", bracket, c)
}

// member consumes what stands before the value of an object's next member, of
// which n were there before. The key is nil at the end of the object. It is
// valid until the window moves, and nil with every error.
func (s *scanner) member(n int) (key []byte, err error) {
	more, err := s.more(n, '}')
	if !more {
		return nil, err
	}
	if key, err = s.str(); err != nil {
		return nil, err
	}
	if err := s.expect(':'); err != nil {
		return nil, err
	}
	return key, nil
}

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
	if plain || utf8.Valid(text) && !hasEscape(text) {
		return text, nil
	}
	var decoded string
	if err := json.Unmarshal(s.buf[start-1:s.i], &decoded); err != nil {
		return nil, s.failAt(start, "%v", err)
	}
	return append([]byte{}, decoded...), nil
}

func hasEscape(text []byte) bool {
	for _, c := range text {
		if c == '\\' {
			return true
		}
	}
	return false
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
			return false, s.failAt(i, "control character %q in a string", c)
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
				return s.failAt(i, "%q in a \\u escape", s.buf[i])
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

// skip consumes any value.
func (s *scanner) skip() error {
	c, err := s.space()
	if err != nil {
		return err
	}
	switch c {
	case '"':
		s.i++
		_, err = s.strEnd()
		return err
	case '[':
		return s.skipArray()
	case '{':
		_, err = s.skipObject()
		return err
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	_, err = s.number()
	return err
}

func (s *scanner) skipArray() error {
	if err := s.enter('['); err != nil {
		return err
	}
	for n := 0; ; n++ {
		if more, err := s.more(n, ']'); !more {
			return err
		}
		if err := s.skip(); err != nil {
			return err
		}
	}
}

// skipObject returns the number of members.
func (s *scanner) skipObject() (members int, err error) {
	if err := s.enter('{'); err != nil {
		return 0, err
	}
	for n := 0; ; n++ {
		if more, err := s.more(n, '}'); !more {
			return n, err
		}
		if err := s.expect('"'); err != nil {
			return 0, err
		}
		if _, err := s.strEnd(); err != nil {
			return 0, err
		}
		if err := s.expect(':'); err != nil {
			return 0, err
		}
		if err := s.skip(); err != nil {
			return 0, err
		}
	}
}

// word consumes true, false or null.
func (s *scanner) word(want string) error {
	for k := range len(want) {
		if s.i+k >= len(s.buf) {
			return errShort
		}
		if s.buf[s.i+k] != want[k] {
			return s.fail("want a value")
		}
	}
	s.i += len(want)
	return nil
}

// null consumes a null, if there is one.
func (s *scanner) null() (bool, error) {
	c, err := s.space()
	if err != nil || c != 'n' {
		return false, err
	}
	return true, s.word("null")
}

// number consumes a number and returns its text.
func (s *scanner) number() ([]byte, error) {
	b, i := s.buf, s.i
	digits := func() bool { // at least one
		start := i
		for i < len(b) && isDigit(b[i]) {
			i++
		}
		return i > start
	}
	at := func(c ...byte) bool {
		for _, c := range c {
			if i < len(b) && b[i] == c {
				i++
				return true
			}
		}
		return false
	}
	at('-')
	ok := at('0') || digits()
	if ok && at('.') {
		ok = digits()
	}
	if ok && at('e', 'E') {
		at('+', '-')
		ok = digits()
	}
	switch {
	case i >= len(b): // it may go on, and nothing may end with a number
		return nil, errShort
	case !ok && i == s.i:
		return nil, s.fail("want a value, got %q", b[i])
	case !ok:
		return nil, s.failAt(i, "%q in a number", b[i])
	}
	text := b[s.i:i]
	s.i = i
	return text, nil
}
