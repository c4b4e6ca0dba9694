package janitor

import (
	"iter"
	"slices"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
)

// A dag is all that is known of specs: from indexes, spec files and lockfiles.
// Nothing is ever taken out of it, and where sources differ in the edges of a
// spec it has those of all. Specs are numbered from 0 in the order in which
// they came to be known.
//
// The numbers of the first index are those of its graph, which is not copied:
// a cache of 100 000 specs takes some 11 MB.
type dag struct {
	base  *index.Graph
	first id // the first spec that base does not have
	ids   map[buildcache.Hash]id
	added []buildcache.Hash // from first on
	more  map[id]*node      // what base does not know
}

// An id numbers a spec in a dag.
type id = uint32

// A node is what is known of a spec beside the base.
type node struct {
	name, version string
	told          bool // by the cache: a spec file or an index
	external      bool
	edges         []edge
}

type edge struct {
	to    id
	types buildcache.DepTypes
}

// splice is the type of the edge from a spliced spec to the one whose binary
// it uses. Whoever needs the spec needs that one.
const splice buildcache.DepTypes = 1 << 4

func newDAG() *dag { return &dag{ids: map[buildcache.Hash]id{}, more: map[id]*node{}} }

// len returns the number of specs.
func (d *dag) len() int { return int(d.first) + len(d.added) }

func (d *dag) lookup(h buildcache.Hash) (id, bool) { return d.lookupText([]byte(h)) }

func (d *dag) lookupText(h []byte) (id, bool) {
	if d.base != nil {
		if i, ok := d.base.LookupText(h); ok {
			return i, true
		}
	}
	i, ok := d.ids[buildcache.Hash(h)]
	return i, ok
}

// find looks a node of a graph up.
func (d *dag) find(g *index.Graph, i uint32) (id, bool) {
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

// intern returns the number of a spec, a new one if need be.
func (d *dag) intern(h buildcache.Hash) id { return d.internText([]byte(h)) }

func (d *dag) internText(h []byte) id {
	if i, ok := d.lookupText(h); ok {
		return i
	}
	i, hash := id(d.len()), buildcache.Hash(h)
	d.ids[hash] = i
	d.added = append(d.added, hash)
	return i
}

func (d *dag) hash(i id) buildcache.Hash {
	if i < d.first {
		return d.base.Hash(i)
	}
	return d.added[i-d.first]
}

func (d *dag) inBase(i id) bool { return i < d.first && !d.base.Missing(i) }

// told reports whether the cache describes a spec. What only lockfiles say of it,
// or what names it as a dependency, does not count.
func (d *dag) told(i id) bool {
	n := d.more[i]
	return d.inBase(i) || n != nil && n.told
}

func (d *dag) name(i id) string {
	if n := d.more[i]; !d.inBase(i) && n != nil {
		return n.name
	} else if i < d.first {
		return d.base.Name(i)
	}
	return ""
}

func (d *dag) version(i id) string {
	if n := d.more[i]; !d.inBase(i) && n != nil {
		return n.version
	} else if i < d.first {
		return d.base.VersionOf(i)
	}
	return ""
}

func (d *dag) external(i id) bool {
	n := d.more[i]
	return i < d.first && d.base.External(i) || n != nil && n.external
}

// text returns name@version and the beginning of the hash, as Spack
// abbreviates it.
func (d *dag) text(i id) string {
	s := buildcache.Spec{Name: d.name(i), Version: d.version(i), Hash: d.hash(i)}
	if s.Name == "" {
		return "/" + string(s.Hash[:7])
	}
	return s.String()
}

// edges yields what a spec needs, and in which ways.
func (d *dag) edges(i id) iter.Seq2[id, buildcache.DepTypes] {
	return func(yield func(id, buildcache.DepTypes) bool) {
		if i < d.first {
			for to, types := range d.base.Deps(i) {
				if !yield(to, types) {
					return
				}
			}
			if to, ok := d.base.BuildSpec(i); ok && !yield(to, splice) {
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

// add takes what a spec file says of a spec.
func (d *dag) add(s *buildcache.Spec) id {
	i := d.intern(s.Hash)
	if !d.told(i) || s.External && !d.external(i) {
		n := d.node(i)
		n.name, n.version, n.external = s.Name, s.Version, n.external || s.External
		n.told = true
	}
	for _, dep := range s.Dependencies {
		d.connect(i, edge{d.intern(dep.Hash), dep.Types})
	}
	if s.BuildSpec != "" {
		d.connect(i, edge{d.intern(s.BuildSpec), splice})
	}
	return i
}

func (d *dag) node(i id) *node {
	n := d.more[i]
	if n == nil {
		n = &node{}
		d.more[i] = n
	}
	return n
}

// connect adds an edge that is not known yet.
func (d *dag) connect(i id, e edge) {
	for to, types := range d.edges(i) {
		if to == e.to && types|e.types == types {
			return
		}
	}
	n := d.node(i)
	n.edges = append(n.edges, e)
}

// addGraph takes what an index says or, if not told, a lockfile. It returns the
// numbers of its nodes here; nil if they are the same.
func (d *dag) addGraph(g *index.Graph, told bool) []id {
	if told && (d.base == g || d.len() == 0) {
		d.base, d.first = g, id(g.Len())
		return nil
	}
	ids := make([]id, g.Len())
	for i := range ids {
		at, ok := d.find(g, uint32(i))
		if !ok {
			at = d.intern(g.Hash(uint32(i)))
		}
		ids[i] = at
	}
	for _, i := range g.Entries() {
		at := ids[i]
		if !d.told(at) || g.External(i) && !d.external(at) {
			n := d.node(at)
			n.name, n.version, n.external, n.told = g.Name(i), g.VersionOf(i), n.external || g.External(i), n.told || told
		}
		for to, types := range g.Deps(i) {
			d.connect(at, edge{ids[to], types})
		}
		if to, ok := g.BuildSpec(i); ok {
			d.connect(at, edge{ids[to], splice})
		}
	}
	return ids
}

// turned returns the dependents of each spec by edges of some types, those
// that are not in the cache too.
func (d *dag) turned(types buildcache.DepTypes) lists {
	l := lists{start: make([]uint32, d.len()+1)}
	for i := range d.len() {
		for to, t := range d.edges(id(i)) {
			if t&types != 0 {
				l.start[to+1]++
			}
		}
	}
	for i := range d.len() {
		l.start[i+1] += l.start[i]
	}
	l.all = make([]uint32, l.start[d.len()])
	next := slices.Clone(l.start)
	for i := range d.len() {
		for to, t := range d.edges(id(i)) {
			if t&types != 0 {
				l.all[next[to]] = id(i)
				next[to]++
			}
		}
	}
	return l
}

// lists are many short lists of numbers in one.
type lists struct {
	start []uint32 // one more than there are lists
	all   []uint32
}

func (l *lists) of(i uint32) []uint32 {
	if int(i)+1 >= len(l.start) {
		return nil
	}
	return l.all[l.start[i]:l.start[i+1]]
}
