package index

import (
	"strconv"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A record is an entry of an index or a lockfile while it is read.
type record struct {
	node
	hash hash
	deps []dep
}

type dep struct {
	hash  hash
	types buildcache.DepTypes
}

// The keys that the reader goes by are fields. Each may be there once: two
// readers could go by different ones.
type fields uint8

func (p *reader) once(seen *fields, f fields, key []byte) error {
	if *seen&f != 0 {
		return p.fail("the key %q is there twice", key)
	}
	*seen |= f
	return nil
}

// record reads an entry: its hash as key, and with value what belongs to it.
func (p *reader) record(value func() error) error {
	if _, err := p.space(); err != nil {
		return err
	}
	start := p.i
	key, err := p.str()
	if err != nil {
		return err
	}
	h, ok := parseHash(key)
	if !ok {
		return p.failAt(p.offset(start), "%q is no spec hash", key)
	}
	p.rec = record{hash: h, deps: p.rec.deps[:0]}
	p.rec.at, p.rec.flags = p.offset(start), isEntry
	if err := p.expect(':'); err != nil {
		return err
	}
	if err := value(); err != nil {
		return err
	}
	p.rec.size = uint32(p.i - start)
	return nil
}

// within returns where the next byte is in the record.
func (p *reader) within() uint32 { return uint32(p.offset(p.i) - p.rec.at) }

// values reads what belongs to an entry of an index.
func (p *reader) values() error {
	const spec, refCount, inBuildcache, all = 1, 2, 4, 7
	if err := p.enter('{'); err != nil {
		return err
	}
	var seen fields
	for n := 0; ; n++ {
		key, err := p.member(n)
		if err != nil {
			return err
		}
		if key == nil {
			break
		}
		var f fields
		switch string(key) {
		case "spec":
			f, err = spec, p.spec()
		case "ref_count":
			f, err = refCount, p.refCount()
		case "in_buildcache":
			f, err = inBuildcache, p.inBuildcache()
		default:
			err = p.ignore(key)
		}
		if err == nil {
			err = p.once(&seen, f, key)
		}
		if err != nil {
			return err
		}
	}
	if seen != all {
		return p.fail("%s lacks spec, ref_count or in_buildcache", p.rec.hash.text())
	}
	return nil
}

func (p *reader) refCount() error {
	if _, err := p.space(); err != nil {
		return err
	}
	p.rec.refAt = p.within()
	text, err := p.number()
	if err != nil {
		return err
	}
	refs, err := strconv.ParseUint(string(text), 10, 32)
	if err != nil {
		return p.fail("the ref_count %s is no count", text)
	}
	p.rec.refs = uint32(refs)
	return nil
}

func (p *reader) inBuildcache() error {
	c, err := p.space()
	if err != nil {
		return err
	}
	p.rec.inAt = p.within()
	switch c {
	case 't':
		p.rec.flags |= inCache
		return p.word("true")
	case 'f':
		return p.word("false")
	}
	return p.fail("in_buildcache is neither true nor false")
}

// spec reads a node, which is all that belongs to an entry of a lockfile.
func (p *reader) spec() error {
	const name, version, ownHash, required, external, buildSpec, dependencies = 1, 2, 4, 7, 8, 16, 32
	if err := p.enter('{'); err != nil {
		return err
	}
	var seen fields
	for n := 0; ; n++ {
		key, err := p.member(n)
		if err != nil {
			return err
		}
		if key == nil {
			break
		}
		var f fields
		switch string(key) {
		case "name":
			f = name
			p.rec.name, err = p.nonEmpty("name", buildcache.CheckName)
		case "version":
			f = version
			p.rec.version, err = p.nonEmpty("version", buildcache.CheckVersion)
		case "hash":
			f, err = ownHash, p.ownHash()
		case "external":
			f, err = external, p.external()
		case "build_spec":
			f, err = buildSpec, p.buildSpec()
		case "dependencies":
			f, err = dependencies, p.dependencies()
		default:
			err = p.ignore(key)
		}
		if err == nil {
			err = p.once(&seen, f, key)
		}
		if err != nil {
			return err
		}
	}
	if seen&required != required {
		return p.fail("%s lacks name, version or hash", p.rec.hash.text())
	}
	return nil
}

// nonEmpty reads a name or version. What check says counts in a lockfile: an index is not refused
// for one odd entry, which stays as it is.
func (p *reader) nonEmpty(what string, check func(string) error) (uint32, error) {
	text, err := p.str()
	if err != nil {
		return 0, err
	}
	if len(text) == 0 {
		return 0, p.fail("%s has an empty %s", p.rec.hash.text(), what)
	}
	if p.keys != nil {
		if err := check(string(text)); err != nil {
			return 0, p.fail("%s: %v", p.rec.hash.text(), err)
		}
	}
	return p.g.names.intern(text), nil
}

func (p *reader) hash() (hash, error) {
	text, err := p.str()
	if err != nil {
		return hash{}, err
	}
	h, ok := parseHash(text)
	if !ok {
		return hash{}, p.fail("%q is no spec hash", text)
	}
	return h, nil
}

func (p *reader) ownHash() error {
	h, err := p.hash()
	if err == nil && h != p.rec.hash {
		err = p.fail("%s says that its hash is %s", p.rec.hash.text(), h.text())
	}
	return err
}

// external goes by what Spack takes for true: an object with something in it.
func (p *reader) external() error {
	c, err := p.space()
	if err != nil {
		return err
	}
	switch c {
	case 'n':
		return p.word("null")
	case 'f':
		return p.word("false")
	case '{':
		members, err := p.skipObject()
		if members > 0 {
			p.rec.flags |= isExternal
		}
		return err
	}
	return p.fail("external is no object")
}
