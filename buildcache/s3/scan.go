package s3

import (
	"bytes"
	"errors"
	"unicode/utf8"
)

// errUnusual is a page that the scanner leaves to encoding/xml: comments,
// CDATA, namespaces with prefixes, attributes, numeric references beyond
// ASCII, repeated fields, or an error.
var errUnusual = errors.New("unusual XML")

// scan reads a page as servers write it, with next to no allocations. It is
// exact: what it finds is what parsePage would. That shares memory with body.
func (r *rawPage) scan(body []byte) (err error) {
	s := &scanner{rest: body, plain: r.plain[:0]}
	defer func() {
		if r := recover(); r != nil {
			if r != errUnusual { // the very value
				panic(r)
			}
			err = errUnusual
		}
		r.plain = s.plain
	}()
	*r = rawPage{contents: r.contents[:0], prefixes: r.prefixes[:0]}
	s.prolog()
	s.page(r)
	return nil
}

// A scanner walks over XML of one shape. It panics with errUnusual, so that
// no step can be forgotten to be checked.
type scanner struct {
	rest  []byte
	plain []byte // texts that are not in the body as they are
}

func (s *scanner) page(raw *rawPage) {
	s.expect("<ListBucketResult")
	if s.skip(` xmlns="`) {
		s.until('"', false)
	}
	s.expect(">")
	var seen fields
	for {
		switch name := s.open(); string(name) {
		case "/ListBucketResult":
			s.space()
			s.check(len(s.rest) == 0)
			return
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
			inner := s.open()
			s.check(string(inner) == "Prefix")
			raw.prefixes = append(raw.prefixes, s.text(inner))
			s.check(string(s.open()) == "/CommonPrefixes")
		default:
			s.ignore(name)
		}
	}
}

func (s *scanner) object() (o rawObject) {
	var seen fields
	for {
		switch name := s.open(); string(name) {
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
	if len(s.rest) < len(text) || string(s.rest[:len(text)]) != text {
		return false
	}
	s.rest = s.rest[len(text):]
	return true
}

func (s *scanner) expect(text string) { s.check(s.skip(text)) }

func (s *scanner) space() {
	for len(s.rest) > 0 && (s.rest[0] == ' ' || s.rest[0] == '\t' || s.rest[0] == '\n') {
		s.rest = s.rest[1:]
	}
}

func (s *scanner) prolog() {
	s.skip(`<?xml version="1.0" encoding="UTF-8"?>`)
	s.space()
}

// open reads a tag without attributes, and the space before it. It returns
// the name, with a slash in front for an end tag, behind for an empty one.
func (s *scanner) open() []byte {
	s.space()
	s.expect("<")
	i := bytes.IndexByte(s.rest, '>')
	s.check(i > 0)
	name := s.rest[:i]
	for j, c := range name {
		s.check('a' <= c|0x20 && c|0x20 <= 'z' || c == '/' && i > 1 && (j == 0) != (j == i-1))
	}
	s.rest = s.rest[i+1:]
	return name
}

// until returns what comes before c, checked to be plain text.
func (s *scanner) until(c byte, references bool) []byte {
	i := bytes.IndexByte(s.rest, c)
	s.check(i >= 0)
	text := s.rest[:i]
	s.rest = s.rest[i+1:]
	ascii := true
	for _, b := range text {
		s.check(b >= ' ' && b != '<' && b != '>' && (references || b != '&'))
		ascii = ascii && b < utf8.RuneSelf
	}
	if !ascii { // XML forbids two characters that UTF-8 allows
		s.check(utf8.Valid(text) && !bytes.ContainsAny(text, "\uFFFE\uFFFF"))
	}
	return text
}

// text reads the rest of an element that holds nothing but text.
func (s *scanner) text(name []byte) []byte {
	raw := s.until('<', true)
	s.expect("/")
	s.check(bytes.HasPrefix(s.rest, name))
	s.rest = s.rest[len(name):]
	s.expect(">")
	if bytes.IndexByte(raw, '&') < 0 {
		return raw
	}
	return s.dereference(raw)
}

// dereference leaves the body as it is: encoding/xml may have to read it yet.
func (s *scanner) dereference(raw []byte) []byte {
	from := len(s.plain)
	for {
		i := bytes.IndexByte(raw, '&')
		if i < 0 {
			s.plain = append(s.plain, raw...)
			return s.plain[from:len(s.plain):len(s.plain)]
		}
		s.plain = append(s.plain, raw[:i]...)
		raw = raw[i+1:]
		end := bytes.IndexByte(raw, ';')
		s.check(end > 0)
		s.plain = append(s.plain, s.reference(raw[:end]))
		raw = raw[end+1:]
	}
}

func (s *scanner) reference(name []byte) byte {
	switch string(name) {
	case "#34", "quot":
		return '"'
	case "#39", "apos":
		return '\''
	case "#38", "amp":
		return '&'
	case "#60", "lt":
		return '<'
	case "#62", "gt":
		return '>'
	case "#xA":
		return '\n'
	case "#x9":
		return '\t'
	case "#xD":
		return '\r'
	}
	panic(errUnusual)
}

// ignore skips the rest of an element of text, or of one that holds such.
func (s *scanner) ignore(name []byte) {
	switch string(name) {
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
