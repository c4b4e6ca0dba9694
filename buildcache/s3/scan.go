package s3

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// errUnusual is a page that the scanner leaves to encoding/xml: comments,
// CDATA, namespaces with prefixes, attributes, numeric references beyond
// ASCII, repeated fields, or an error.
var errUnusual = errors.New("unusual XML")

// scanPage reads a page as servers write it, with a twentieth of the
// allocations of encoding/xml. It is exact: what it returns is what parsePage
// would.
func scanPage(body []byte) (raw *rawPage, err error) {
	s := &scanner{rest: string(body)} // what is taken from it shares its memory
	defer func() {
		if r := recover(); r != nil {
			if r != errUnusual { //nolint:errorlint // the very value
				panic(r)
			}
			raw, err = nil, errUnusual
		}
	}()
	s.prolog()
	return s.page(), nil
}

// A scanner walks over XML of one shape. It panics with errUnusual, so that
// no step can be forgotten to be checked.
type scanner struct{ rest string }

func (s *scanner) page() *rawPage {
	s.expect("<ListBucketResult")
	if s.skip(` xmlns="`) {
		s.until('"', false)
	}
	s.expect(">")
	raw := &rawPage{contents: make([]rawObject, 0, 1000)}
	var seen fields
	for {
		switch name := s.open(); name {
		case "/ListBucketResult":
			s.space()
			s.check(len(s.rest) == 0)
			return raw
		case "IsTruncated":
			seen.once(s, 0)
			raw.truncated = s.text(name)
		case "NextContinuationToken":
			seen.once(s, 1)
			raw.token = s.text(name)
		case "KeyCount":
			seen.once(s, 2)
			raw.count = s.text(name)
		case "EncodingType":
			seen.once(s, 3)
			raw.encoding = s.text(name)
		case "Contents":
			raw.contents = append(raw.contents, s.object())
		case "CommonPrefixes":
			s.check(s.open() == "Prefix")
			raw.prefixes = append(raw.prefixes, s.text("Prefix"))
			s.check(s.open() == "/CommonPrefixes")
		default:
			s.ignore(name)
		}
	}
}

func (s *scanner) object() (o rawObject) {
	var seen fields
	for {
		switch name := s.open(); name {
		case "/Contents":
			return o
		case "Key":
			seen.once(s, 0)
			o.key = s.text(name)
		case "LastModified":
			seen.once(s, 1)
			o.modified = s.text(name)
		case "ETag":
			seen.once(s, 2)
			o.etag = s.text(name)
		case "Size":
			seen.once(s, 3)
			o.size = s.text(name)
		default:
			s.ignore(name)
		}
	}
}

// fields are the elements seen so far. encoding/xml lets the last of several
// win, or joins them: not what a server would mean.
type fields [4]bool

func (f *fields) once(s *scanner, i int) {
	s.check(!f[i])
	f[i] = true
}

func (s *scanner) check(ok bool) {
	if !ok {
		panic(errUnusual)
	}
}

func (s *scanner) skip(text string) bool {
	rest, ok := strings.CutPrefix(s.rest, text)
	s.rest = rest
	return ok
}

func (s *scanner) expect(text string) { s.check(s.skip(text)) }

func (s *scanner) space() { s.rest = strings.TrimLeft(s.rest, " \t\n") }

func (s *scanner) prolog() {
	s.skip(`<?xml version="1.0" encoding="UTF-8"?>`)
	s.space()
}

// open reads a tag without attributes, and the space before it. It returns
// the name, with a slash in front for an end tag, behind for an empty one.
func (s *scanner) open() string {
	s.space()
	s.expect("<")
	i := strings.IndexByte(s.rest, '>')
	s.check(i > 0)
	name := s.rest[:i]
	for j, c := range []byte(name) {
		s.check('a' <= c|0x20 && c|0x20 <= 'z' || c == '/' && i > 1 && (j == 0) != (j == i-1))
	}
	s.rest = s.rest[i+1:]
	return name
}

// until returns what comes before c, checked to be plain text.
func (s *scanner) until(c byte, references bool) string {
	i := strings.IndexByte(s.rest, c)
	s.check(i >= 0)
	text := s.rest[:i]
	s.rest = s.rest[i+1:]
	ascii := true
	for _, b := range []byte(text) {
		s.check(b >= ' ' && b != '<' && b != '>' && (references || b != '&'))
		ascii = ascii && b < utf8.RuneSelf
	}
	if !ascii { // XML forbids two characters that UTF-8 allows
		s.check(utf8.ValidString(text) && !strings.ContainsAny(text, "\uFFFE\uFFFF"))
	}
	return text
}

// text reads the rest of an element that holds nothing but text.
func (s *scanner) text(name string) string {
	raw := s.until('<', true)
	s.expect("/")
	s.expect(name)
	s.expect(">")
	if strings.IndexByte(raw, '&') < 0 {
		return raw
	}
	return s.dereference(raw)
}

var references = map[string]byte{"amp": '&', "lt": '<', "gt": '>', "quot": '"', "apos": '\'', "#34": '"', "#39": '\'', "#38": '&', "#60": '<', "#62": '>', "#xA": '\n', "#x9": '\t', "#xD": '\r'}

func (s *scanner) dereference(raw string) string {
	var b strings.Builder
	b.Grow(len(raw))
	for {
		i := strings.IndexByte(raw, '&')
		if i < 0 {
			b.WriteString(raw)
			return b.String()
		}
		b.WriteString(raw[:i])
		raw = raw[i+1:]
		end := strings.IndexByte(raw, ';')
		s.check(end > 0)
		c, ok := references[raw[:end]]
		s.check(ok)
		b.WriteByte(c)
		raw = raw[end+1:]
	}
}

// ignore skips the rest of an element of text, or of one that holds such.
func (s *scanner) ignore(name string) {
	switch name {
	case "Prefix/", "Delimiter/", "StartAfter/", "ContinuationToken/", "Owner/":
		return
	}
	s.check(name[0] != '/' && name[len(name)-1] != '/')
	s.space()
	for len(s.rest) > 1 && s.rest[0] == '<' && s.rest[1] != '/' {
		child := s.open()
		s.check(child[len(child)-1] != '/')
		s.text(child)
		s.space()
	}
	s.text(name)
}
