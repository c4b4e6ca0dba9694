package janitor

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// without returns the index less some specs. Entries that a cached one still
// names stay, as not cached: without them Spack would drop the dependency.
func (e *entries) without(gone map[buildcache.Hash]bool) *entries {
	return e.with(nil, gone)
}

// with returns the index with records put back, less some specs. A record that
// is there already only becomes cached again if the one put back was.
func (e *entries) with(back []*record, gone map[buildcache.Hash]bool) *entries {
	all := slices.Clone(e.records)
	at := map[buildcache.Hash]int{}
	for i, r := range all {
		at[r.hash] = i
	}
	for _, r := range back {
		i, ok := at[r.hash]
		if !ok {
			at[r.hash] = len(all)
			all = append(all, r)
		} else if r.cached && !all[i].cached {
			all[i] = all[i].patch(all[i].refs, true)
		}
	}
	needed := reach(all, at, gone)
	refs := map[buildcache.Hash]int{}
	for _, r := range all {
		if needed[r.hash] {
			for _, d := range r.spec.Dependencies {
				refs[d.Hash]++
			}
		}
	}
	n := &entries{head: e.head, tail: e.tail, separator: e.separator, version: e.version, byHash: map[buildcache.Hash]*record{}}
	for _, r := range all {
		if needed[r.hash] {
			r = r.patch(refs[r.hash], r.cached && !gone[r.hash])
			n.records = append(n.records, r)
			n.byHash[r.hash] = r
		}
	}
	return n
}

// reach returns the entries that are in the cache or that one of those needs,
// by edges of any type.
func reach(all []*record, at map[buildcache.Hash]int, gone map[buildcache.Hash]bool) map[buildcache.Hash]bool {
	needed := map[buildcache.Hash]bool{}
	var queue []buildcache.Hash
	add := func(h buildcache.Hash) {
		if _, ok := at[h]; ok && !needed[h] {
			needed[h] = true
			queue = append(queue, h)
		}
	}
	for _, r := range all {
		if r.cached && !gone[r.hash] {
			add(r.hash)
		}
	}
	for len(queue) > 0 {
		spec := all[at[queue[0]]].spec
		queue = queue[1:]
		for _, d := range spec.Dependencies {
			add(d.Hash)
		}
		add(spec.BuildSpec)
	}
	return needed
}

// patch returns the record with two values changed, and every other byte as it
// was.
func (r *record) patch(refs int, cached bool) *record {
	if r.refs == refs && r.cached == cached {
		return r
	}
	n := *r
	type change struct {
		at   span
		text string
	}
	changes := []change{{r.refAt, strconv.Itoa(refs)}, {r.cacheAt, strconv.FormatBool(cached)}}
	if r.cacheAt.from < r.refAt.from {
		slices.Reverse(changes)
	}
	var b bytes.Buffer
	from := 0
	for _, c := range changes {
		b.Write(r.raw[from:c.at.from])
		b.WriteString(c.text)
		from = c.at.to
	}
	b.Write(r.raw[from:])
	patched, err := parseRecord(r.hash, b.Bytes())
	if err != nil {
		panic(err) // two values of the same types were put in their place
	}
	n = *patched
	return &n
}

// bytes writes the index.
func (e *entries) bytes() []byte {
	separator := e.separator
	if separator == nil {
		separator = []byte(",")
	}
	raws := make([][]byte, len(e.records))
	for i, r := range e.records {
		raws[i] = r.raw
	}
	return slices.Concat(e.head, bytes.Join(raws, separator), e.tail)
}
