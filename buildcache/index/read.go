package index

import (
	"fmt"
	"io"
	"strconv"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Read reads an index to its end. size is its length in bytes where it is
// known, else 0; with it less memory is needed.
//
// Whatever is wrong with the index is buildcache.ErrFormat and names the byte;
// an index that is cut off is io.ErrUnexpectedEOF as well, and one of a version
// not known here a *VersionError.
func Read(r io.Reader, size int64) (*Graph, error) {
	p := &reader{scanner: newScanner("index", r, size), g: newGraph(), hint: size}
	if err := p.document(); err != nil {
		return nil, err
	}
	return p.g, nil
}

func newGraph() *Graph { return &Graph{names: newStrings(), table: newTable()} }

// A reader fills a graph.
type reader struct {
	*scanner
	g    *Graph
	hint int64 // size of the file, 0 if unknown
	rec  record
}

func (p *reader) document() error {
	if err := p.object(func(key []byte) (bool, error) {
		if string(key) != "database" {
			return false, nil
		}
		return true, p.database()
	}); err != nil {
		return err
	}
	if p.g.version == "" {
		return fmt.Errorf("index: %w: it has no database", buildcache.ErrFormat)
	}
	return p.end()
}

func (p *reader) database() error {
	if p.g.version != "" {
		return p.fail("a second database")
	}
	installs := false
	err := p.object(func(key []byte) (bool, error) {
		switch string(key) {
		case "version":
			return true, p.version()
		case "installs":
			if installs {
				return true, p.fail("the installs are there twice")
			}
			installs = true
			return true, p.installs()
		}
		return false, nil
	})
	switch {
	case err != nil:
		return err
	case p.g.version == "":
		return &VersionError{}
	case !installs:
		return p.fail("the database has no installs")
	}
	return nil
}

func (p *reader) version() error {
	return p.whole(func() error {
		if p.g.version != "" {
			return p.fail("the version is there twice")
		}
		text, err := p.str()
		if err != nil {
			return err
		}
		v, err := strconv.Atoi(string(text))
		if err != nil || strconv.Itoa(v) != string(text) || v < buildcache.DatabaseFormat.Oldest {
			return &VersionError{string(text)}
		}
		p.g.version = string(text)
		return nil
	})
}

// object reads an object that may be longer than the window. It skips the
// members that known does not read.
func (p *reader) object(known func(key []byte) (bool, error)) error {
	if err := p.whole(func() error { return p.enter('{') }); err != nil {
		return err
	}
	for n := 0; ; n++ {
		var key []byte
		if err := p.whole(func() (err error) { key, err = p.member(n); return err }); err != nil || key == nil {
			return err
		}
		read, err := known(key)
		if !read && err == nil {
			if err = p.spelling(key); err == nil {
				err = p.whole(p.skip)
			}
		}
		if err != nil {
			return err
		}
	}
}

func (p *reader) installs() error {
	if err := p.whole(func() error { return p.enter('{') }); err != nil {
		return err
	}
	p.g.open = p.offset(p.i)
	if err := p.entries(p.values, p.add); err != nil {
		return err
	}
	p.g.close = p.offset(p.i - 1)
	return nil
}

// entries reads an object behind its brace. Its keys are hashes; value reads
// what belongs to one, then add takes the record over.
func (p *reader) entries(value, add func() error) error {
	n, more := 0, true
	entry := func() (err error) {
		if more, err = p.more(n, '}'); !more {
			return err
		}
		return p.record(value)
	}
	for ; ; n++ {
		if err := p.whole(entry); err != nil {
			return err
		}
		if !more {
			return nil
		}
		if err := add(); err != nil {
			return err
		}
	}
}

// end refuses anything but white space.
func (p *reader) end() error {
	for {
		switch c, err := p.space(); {
		case err == nil:
			return p.fail("%q behind the end", c)
		case p.eof:
			p.g.size = p.offset(len(p.buf))
			return nil
		}
		if err := p.fill(); err != nil {
			return err
		}
	}
}
