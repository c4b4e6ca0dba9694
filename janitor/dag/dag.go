// Package dag numbers specs and knows what each needs, from whatever describes it.
package dag

import (
	"iter"
	"slices"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
)

// A DAG is all that is known of specs: from indexes, spec files and lockfiles.
// Nothing is ever taken out of it, and where sources differ in the edges of a
// spec it has those of all. Specs are numbered from 0 in the order in which
// they came to be known.
//
// The numbers of the first index are those of its graph, which is not copied:
// a cache of 100 000 specs takes some 11 MB.
type DAG struct {
	base  *index.Graph
	first ID // the first spec that base does not have
	ids   map[buildcache.Hash]ID
	added []buildcache.Hash // from first on
	more  map[ID]*node      // what base does not know
}

// An ID numbers a spec in a dag.
type ID = uint32

// A node is what is known of a spec beside the base.
type node struct {
	name, version string
	told          bool // by the cache: a spec file or an index
	external      bool
	edges         []edge
}

type edge struct {
	to    ID
	types buildcache.DepTypes
}

// Splice is the type of the edge from a spliced spec to the one whose binary
// it uses. Whoever needs the spec needs that one.
const Splice buildcache.DepTypes = 1 << 4

// New returns a DAG without specs.
func New() *DAG { return &DAG{ids: map[buildcache.Hash]ID{}, more: map[ID]*node{}} }

// Len returns the number of specs.
func (d *DAG) Len() int { return int(d.first) + len(d.added) }

// Lookup finds a spec by its hash.
func (d *DAG) Lookup(h buildcache.Hash) (ID, bool) { return d.LookupText([]byte(h)) }

// LookupText is Lookup without a copy of the hash.
func (d *DAG) LookupText(h []byte) (ID, bool) {
	if d.base != nil {
		if i, ok := d.base.LookupText(h); ok {
			return i, true
		}
	}
	i, ok := d.ids[buildcache.Hash(h)]
	return i, ok
}

// Find looks a node of a graph up.
func (d *DAG) Find(g *index.Graph, i uint32) (ID, bool) {
	if d.base != nil {
		if at, ok := g.LookupIn(d.base, i); ok {
			return at, true
		}
	}
	if len(d.ids) == 0 {
		return 0, false
	}
	at, ok := d.ids[g.Hash(i)]
	return at, ok
}

// Intern returns the number of a spec, a new one if need be.
func (d *DAG) Intern(h buildcache.Hash) ID { return d.InternText([]byte(h)) }

// InternText is Intern without a copy of the hash, if it is known.
func (d *DAG) InternText(h []byte) ID {
	if i, ok := d.LookupText(h); ok {
		return i
	}
	i, hash := ID(d.Len()), buildcache.Hash(h)
	d.ids[hash] = i
	d.added = append(d.added, hash)
	return i
}

// Hash returns the hash of a spec.
func (d *DAG) Hash(i ID) buildcache.Hash {
	if i < d.first {
		return d.base.Hash(i)
	}
	return d.added[i-d.first]
}

func (d *DAG) inBase(i ID) bool { return i < d.first && !d.base.Missing(i) }

// Told reports whether the cache describes a spec. What only lockfiles say of it,
// or what names it as a dependency, does not count.
func (d *DAG) Told(i ID) bool {
	n := d.more[i]
	return d.inBase(i) || n != nil && n.told
}

// Name returns the name of a spec, or "" if only its hash is known.
func (d *DAG) Name(i ID) string {
	if n := d.more[i]; !d.inBase(i) && n != nil {
		return n.name
	} else if i < d.first {
		return d.base.Name(i)
	}
	return ""
}

// Version returns the version of a spec, or "".
func (d *DAG) Version(i ID) string {
	if n := d.more[i]; !d.inBase(i) && n != nil {
		return n.version
	} else if i < d.first {
		return d.base.VersionOf(i)
	}
	return ""
}

// External reports whether a source has the spec as one that Spack did not install.
func (d *DAG) External(i ID) bool {
	n := d.more[i]
	return i < d.first && d.base.External(i) || n != nil && n.external
}

// Text returns name@version and the beginning of the hash, as Spack
// abbreviates it.
func (d *DAG) Text(i ID) string {
	s := buildcache.Spec{Name: d.Name(i), Version: d.Version(i), Hash: d.Hash(i)}
	if s.Name == "" {
		return "/" + string(s.Hash[:7])
	}
	return s.String()
}

// Edges yields what a spec needs, and in which ways.
func (d *DAG) Edges(i ID) iter.Seq2[ID, buildcache.DepTypes] {
	return func(yield func(ID, buildcache.DepTypes) bool) {
		if i < d.first {
			for to, types := range d.base.Deps(i) {
				if !yield(to, types) {
					return
				}
			}
			if to, ok := d.base.BuildSpec(i); ok && !yield(to, Splice) {
				return
			}
		}
		if n := d.more[i]; n != nil {
			for _, e := range n.edges {
				if !yield(e.to, e.types) {
					return
				}
			}
		}
	}
}

// Add takes what a spec file says of a spec.
func (d *DAG) Add(s *buildcache.Spec) ID {
	i := d.Intern(s.Hash)
	if !d.Told(i) || s.External && !d.External(i) {
		n := d.node(i)
		n.name, n.version, n.external = s.Name, s.Version, n.external || s.External
		n.told = true
	}
	for _, dep := range s.Dependencies {
		d.connect(i, edge{d.Intern(dep.Hash), dep.Types})
	}
	if s.BuildSpec != "" {
		d.connect(i, edge{d.Intern(s.BuildSpec), Splice})
	}
	return i
}

func (d *DAG) node(i ID) *node {
	n := d.more[i]
	if n == nil {
		n = &node{}
		d.more[i] = n
	}
	return n
}

// connect adds an edge that is not known yet.
func (d *DAG) connect(i ID, e edge) {
	for to, types := range d.Edges(i) {
		if to == e.to && types|e.types == types {
			return
		}
	}
	n := d.node(i)
	n.edges = append(n.edges, e)
}

// AddGraph takes what an index says or, if not told, a lockfile. It returns the
// numbers of its nodes here; nil if they are the same.
func (d *DAG) AddGraph(g *index.Graph, told bool) []ID {
	if told && (d.base == g || d.Len() == 0) {
		d.base, d.first = g, ID(g.Len())
		return nil
	}
	ids := make([]ID, g.Len())
	for i := range ids {
		at, ok := d.Find(g, uint32(i))
		if !ok {
			at = d.Intern(g.Hash(uint32(i)))
		}
		ids[i] = at
	}
	for _, i := range g.Entries() {
		at := ids[i]
		if !d.Told(at) || g.External(i) && !d.External(at) {
			n := d.node(at)
			n.name, n.version, n.external, n.told = g.Name(i), g.VersionOf(i), n.external || g.External(i), n.told || told
		}
		for to, types := range g.Deps(i) {
			d.connect(at, edge{ids[to], types})
		}
		if to, ok := g.BuildSpec(i); ok {
			d.connect(at, edge{ids[to], Splice})
		}
	}
	return ids
}

// Turned returns the dependents of each spec by edges of some types, those
// that are not in the cache too.
func (d *DAG) Turned(types buildcache.DepTypes) Lists {
	l := Lists{Start: make([]uint32, d.Len()+1)}
	for i := range d.Len() {
		for to, t := range d.Edges(ID(i)) {
			if t&types != 0 {
				l.Start[to+1]++
			}
		}
	}
	for i := range d.Len() {
		l.Start[i+1] += l.Start[i]
	}
	l.All = make([]uint32, l.Start[d.Len()])
	next := slices.Clone(l.Start)
	for i := range d.Len() {
		for to, t := range d.Edges(ID(i)) {
			if t&types != 0 {
				l.All[next[to]] = ID(i)
				next[to]++
			}
		}
	}
	return l
}

// Lists are many short lists of numbers in one.
type Lists struct {
	Start []uint32 // one more than there are lists
	All   []uint32
}

// Of returns one of the lists.
func (l *Lists) Of(i uint32) []uint32 {
	if int(i)+1 >= len(l.Start) {
		return nil
	}
	return l.All[l.Start[i]:l.Start[i+1]]
}
