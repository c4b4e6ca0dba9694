package index

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
	if err == nil && !more {
		s.keys.close(n)
	}
	if !more {
		return nil, err
	}
	if key, err = s.str(); err != nil {
		return nil, err
	}
	if err := s.expect(':'); err != nil {
		return nil, err
	}
	if s.keys.has(n, key) {
		return nil, s.fail("the key %q is there twice", key)
	}
	return key, nil
}
