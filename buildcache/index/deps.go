package index

import "github.com/openbraininstitute/spacktainers/buildcache"

// dependencies reads a list of them. That it is null, or not there at all,
// means that there are none.
func (p *reader) dependencies() error {
	if null, err := p.null(); null || err != nil {
		return err
	}
	if err := p.enter('['); err != nil {
		return err
	}
	for n := 0; ; n++ {
		more, err := p.more(n, ']')
		if !more {
			return err
		}
		d, ok := p.spacksDependency()
		if !ok {
			if d, err = p.dependency(); err != nil {
				return err
			}
		}
		p.rec.deps = append(p.rec.deps, d)
	}
}

// dependency reads one, with its types under parameters, or up to specfile
// version 3 under type.
func (p *reader) dependency() (d dep, err error) {
	const hash, parameters, oldTypes = 1, 2, 4
	if err := p.enter('{'); err != nil {
		return d, err
	}
	var seen fields
	var old buildcache.DepTypes
	for n := 0; ; n++ {
		key, err := p.member(n)
		if err != nil {
			return d, err
		}
		if key == nil {
			break
		}
		var f fields
		switch string(key) {
		case "hash":
			f = hash
			d.hash, err = p.hash()
		case "parameters":
			f = parameters
			d.types, err = p.parameters()
		case "type":
			f = oldTypes
			old, err = p.types()
		default:
			err = p.ignore(key)
		}
		if err == nil {
			err = p.once(&seen, f, key)
		}
		if err != nil {
			return d, err
		}
	}
	if d.types == 0 {
		d.types = old
	}
	if seen&hash == 0 || d.types == 0 {
		return d, p.fail("a dependency of %s lacks its hash or types", p.rec.hash.text())
	}
	return d, nil
}

// parameters returns the deptypes, 0 if there are none.
func (p *reader) parameters() (types buildcache.DepTypes, err error) {
	if null, err := p.null(); null || err != nil {
		return 0, err
	}
	if err := p.enter('{'); err != nil {
		return 0, err
	}
	var seen fields
	for n := 0; ; n++ {
		key, err := p.member(n)
		if key == nil {
			return types, err
		}
		if string(key) != "deptypes" {
			err = p.ignore(key)
		} else if err = p.once(&seen, 1, key); err == nil {
			types, err = p.types()
		}
		if err != nil {
			return 0, err
		}
	}
}

// types refuses a type that it does not know: a caller that leaves an edge out takes
// what it leads to for unused. It refuses an empty list: to some readers that
// overrides the list of the older form, to others it does not.
func (p *reader) types() (types buildcache.DepTypes, err error) {
	if null, err := p.null(); null || err != nil {
		return 0, err
	}
	if err := p.enter('['); err != nil {
		return 0, err
	}
	for n := 0; ; n++ {
		more, err := p.more(n, ']')
		if err == nil && !more && n == 0 {
			err = p.fail("a dependency of %s has a list of no types", p.rec.hash.text())
		}
		if !more {
			return types, err
		}
		text, err := p.str()
		if err != nil {
			return 0, err
		}
		switch string(text) {
		case "build":
			types |= buildcache.Build
		case "link":
			types |= buildcache.Link
		case "run":
			types |= buildcache.Run
		case "test":
			types |= buildcache.Test
		default:
			return 0, p.fail("unknown dependency type %q", text)
		}
	}
}

// buildSpec reads which spec's binary a spliced spec uses.
func (p *reader) buildSpec() error {
	if null, err := p.null(); null || err != nil {
		return err
	}
	if err := p.enter('{'); err != nil {
		return err
	}
	d := dep{types: splice}
	var seen fields
	for n := 0; ; n++ {
		key, err := p.member(n)
		if err != nil {
			return err
		}
		if key == nil {
			break
		}
		if string(key) != "hash" {
			err = p.ignore(key)
		} else if err = p.once(&seen, 1, key); err == nil {
			d.hash, err = p.hash()
		}
		if err != nil {
			return err
		}
	}
	if seen == 0 {
		return p.fail("the build spec of %s has no hash", p.rec.hash.text())
	}
	p.rec.deps = append(p.rec.deps, d)
	return nil
}
