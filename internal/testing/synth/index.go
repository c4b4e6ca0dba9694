package synth

import (
	"io"
	"strconv"
)

// Index writes the index of a cache of layout 2 with that many specs.
func Index(w io.Writer, specs int, seed uint64) error {
	return Cache{Specs: specs, Seed: seed}.Index(w)
}

// Index writes the index, 1.9 kB a spec. It holds a few bytes of each spec in
// memory, so that it can be of any size.
func (c Cache) Index(dst io.Writer) error {
	const chunk = 64 << 10
	refs := c.refCounts()
	w := writer{Cache: c}
	version := "7"
	if c.v3() {
		version = "8"
	}
	w.b = append(w.b, `{"database":{"version":"`+version+`","installs":{`...)
	for i := range c.Specs {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		w.b = append(w.b, '"')
		w.hash(i)
		w.b = append(w.b, `":{"spec":`...)
		w.node(i)
		w.b = append(w.b, `,"ref_count":`...)
		w.b = strconv.AppendUint(w.b, uint64(refs[i]), 10)
		w.b = append(w.b, `,"in_buildcache":`...)
		w.b = strconv.AppendBool(w.b, !c.External(i))
		w.b = append(w.b, '}')
		if len(w.b) >= chunk {
			if _, err := dst.Write(w.b); err != nil {
				return err
			}
			w.b = w.b[:0]
		}
	}
	w.b = append(w.b, "}}}"...)
	_, err := dst.Write(w.b)
	return err
}
