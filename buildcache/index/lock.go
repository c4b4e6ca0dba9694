package index

import (
	"io"
	"strconv"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A Lock is what a spack.lock says of the DAG. Its graph holds the nodes of the
// environment and of all that it includes; every one is an entry, none is
// missing, and none depends on itself. Graph.Version is empty, and none of the
// nodes is in a cache: that a lockfile does not know.
type Lock struct {
	*Graph
	Version int      // of the format
	Roots   []uint32 // its own first, then those of included environments by path; each node once
}

// ReadLock reads a lockfile to its end, as Read does an index: what it keeps of
// a node are some 110 bytes, however long the file is. size is its length in
// bytes where it is known, else 0.
//
// It finds what buildcache.ParseLockfile finds, whatever the order of the keys.
// Of what it does not go by it asks only that it is JSON without a key twice in
// an object. Beyond that it is the stricter one. It refuses
//   - a key that it goes by in capitals, which encoding/json takes for the same
//     and Spack does not;
//   - keys that differ only in bytes that are not UTF-8;
//   - an empty list of dependency types, and an unknown type in a list that
//     another one overrides;
//   - a node that is not there, even if it is named only by one that does not
//     count, since an environment before it has the same;
//   - values of more than 64 MiB other than the roots and environments, and more
//     than 65535 dependencies of a node.
//
// Whatever is wrong with the file is buildcache.ErrFormat; one that is cut off
// is io.ErrUnexpectedEOF as well.
func ReadLock(r io.Reader, size int64) (*Lock, error) {
	g := newGraph()
	p := &lockReader{
		reader: reader{scanner: newScanner("lockfile", r, size), g: g, hint: size},
		lock:   &Lock{Graph: g},
	}
	p.keys = newKeys()
	if err := p.document(); err != nil {
		return nil, err
	}
	return p.lock, nil
}

// A lockReader fills a Lock.
type lockReader struct {
	reader
	lock   *Lock
	meta   bool           // has been read
	envs   []*environment // whose nodes have been read, or are being read: the last one
	places []place        // of the nodes, by their numbers
}

func (p *lockReader) document() error {
	top := &environment{}
	complete, err := p.environment(top)
	switch {
	case err != nil:
		return err
	case !p.meta:
		return p.known("", 0)
	case !complete:
		return p.fail("roots or concrete_specs are missing")
	}
	if err := p.end(); err != nil {
		return err
	}
	if err := p.dangling(); err != nil {
		return err
	}
	if err := p.roots(top, NewBits(p.g.Len())); err != nil {
		return err
	}
	return p.cycle()
}

// header reads what kind of file it is. A wrong one is refused at once: its
// nodes would be, too, for reasons that tell less.
func (p *lockReader) header() error {
	fileType, version := "", 0
	p.meta = true
	err := p.object(func(key []byte) (bool, error) {
		switch string(key) {
		case "file-type":
			return true, p.whole(func() error {
				text, err := p.str()
				fileType = string(text)
				return err
			})
		case "lockfile-version":
			return true, p.whole(func() (err error) {
				version, err = p.integer()
				return err
			})
		}
		return false, nil
	})
	if err != nil {
		return err
	}
	p.lock.Version = version
	return p.known(fileType, version)
}

func (p *lockReader) known(fileType string, version int) error {
	return p.wrap(buildcache.CheckLockfile(fileType, version))
}

func (p *lockReader) integer() (int, error) {
	if _, err := p.space(); err != nil {
		return 0, err
	}
	text, err := p.number()
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(string(text))
	if err != nil {
		return 0, p.fail("the lockfile-version %s is no whole number", text)
	}
	return n, nil
}
