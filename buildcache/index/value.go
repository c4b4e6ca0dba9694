package index

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
	if s.keys != nil {
		return s.skipMembers()
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

// skipMembers is the rest of skipObject where no key may be there twice.
func (s *scanner) skipMembers() (members int, err error) {
	for n := 0; ; n++ {
		if key, err := s.member(n); key == nil {
			return n, err
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
		return nil, s.failAt(s.offset(i), "%q in a number", b[i])
	}
	text := b[s.i:i]
	s.i = i
	return text, nil
}
