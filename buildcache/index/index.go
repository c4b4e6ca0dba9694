// Package index reads the index of a build cache as a stream and writes the
// one that remains when specs go.
//
// An index of a million specs is 2 GB of JSON. Read keeps about 110 bytes of
// each: what the graph needs, and where the record is in the file. Rewrite
// copies the records that stay, byte for byte as Spack wrote them. ReadLock
// reads a lockfile in the same way: it holds the same nodes.
//
// What it reads decides what gets deleted, so it refuses whatever it would have
// to guess at: JSON that is not valid to its last byte, a key that it goes by
// twice in one object, a record without one of the values that it goes by.
package index

import (
	"iter"
	"strconv"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A Graph is the DAG of an index, or of a lockfile (see Lock). Its nodes are
// numbered from 0: the entries, and the specs that entries name without being
// entries themselves (see Missing).
//
// A Graph does not change; its methods may be called from several goroutines.
type Graph struct {
	version string
	hashes  []hash
	nodes   []node   // by the same number
	edges   []edge   // of all nodes: each node's lie together
	order   []uint32 // the entries, as they follow each other in the file
	names   strings
	table   table

	open, close, size int64 // offsets behind the brace that opens the installs, of the one that closes them, and of the end
}

// A node is what the graph knows of a spec besides its hash: 40 bytes.
type node struct {
	at            int64  // offset of its record in the file: of the key's quote
	size          uint32 // bytes of its record, to the closing brace
	refAt, inAt   uint32 // where the values of ref_count and in_buildcache begin in the record
	refs          uint32
	name, version uint32 // in Graph.names
	edge          uint32 // the first of its edges
	edges         uint16
	flags         flags
}

type flags uint8

const (
	isEntry flags = 1 << iota
	inCache
	isExternal
)

// An edge is a node's number, with the types of the dependency above it.
type edge uint32

const (
	idBits = 27
	maxID  = 1<<idBits - 1

	// splice marks the edge from a spliced spec to the one whose binary it
	// uses. It is no dependency: only Mark follows it.
	splice buildcache.DepTypes = 1 << 4
)

func newEdge(id uint32, types buildcache.DepTypes) edge { return edge(id | uint32(types)<<idBits) }

func (e edge) id() uint32                 { return uint32(e) & maxID }
func (e edge) types() buildcache.DepTypes { return buildcache.DepTypes(e >> idBits) }

// Version returns the version of the database as the index says it: 7 up to
// Spack 0.23, 8 since 1.0, 9 since 1.3.
func (g *Graph) Version() string { return g.version }

// Note returns one line for the user if the index is of a version newer than those that were tried,
// else "". Such an index is not rewritten, and what it names must not be deleted.
func (g *Graph) Note() string {
	version, err := strconv.Atoi(g.version)
	if err != nil { // a lockfile's graph
		return ""
	}
	return buildcache.DatabaseFormat.Note(version)
}

// Len returns the number of nodes, missing ones too: they are 0 to Len()-1.
func (g *Graph) Len() int { return len(g.nodes) }

// Entries returns the nodes that are entries of the index, in its order. The
// caller must not change them.
func (g *Graph) Entries() []uint32 { return g.order }

// Missing says that entries depend on a node that is no entry. All that is
// known of it is its hash.
func (g *Graph) Missing(id uint32) bool { return g.nodes[id].flags&isEntry == 0 }

// Lookup finds a node by its full hash; it may be a missing one.
func (g *Graph) Lookup(h buildcache.Hash) (id uint32, ok bool) { return g.LookupText([]byte(h)) }

// LookupText is Lookup for a hash that is part of some text.
func (g *Graph) LookupText(h []byte) (id uint32, ok bool) {
	b, ok := parseHash(h)
	if !ok {
		return 0, false
	}
	return g.table.find(b, g.hashes)
}

// LookupIn finds a node of this graph in another one, by its hash.
func (g *Graph) LookupIn(other *Graph, id uint32) (at uint32, ok bool) {
	return other.table.find(g.hashes[id], other.hashes)
}

// Hash returns the DAG hash.
func (g *Graph) Hash(id uint32) buildcache.Hash { return g.hashes[id].text() }

// Name returns the name of the package, or "" if the node is missing.
func (g *Graph) Name(id uint32) string { return g.names.all[g.nodes[id].name] }

// VersionOf returns the version of the package, or "" if the node is missing.
func (g *Graph) VersionOf(id uint32) string { return g.names.all[g.nodes[id].version] }

// InCache reports whether the index has the binary in the cache. Entries that are
// not are externals, or dependencies that were never pushed.
func (g *Graph) InCache(id uint32) bool { return g.nodes[id].flags&inCache != 0 }

// External reports whether the system provides the spec.
func (g *Graph) External(id uint32) bool { return g.nodes[id].flags&isExternal != 0 }

// RefCount returns the number of dependents that the index claims.
func (g *Graph) RefCount(id uint32) uint32 { return g.nodes[id].refs }

// Deps yields the dependencies in the order of the record, with their types.
func (g *Graph) Deps(id uint32) iter.Seq2[uint32, buildcache.DepTypes] {
	return func(yield func(uint32, buildcache.DepTypes) bool) {
		for _, e := range g.edgesOf(id) {
			if e.types() != splice && !yield(e.id(), e.types()) {
				return
			}
		}
	}
}

// BuildSpec returns the spec whose binary a spliced spec uses.
func (g *Graph) BuildSpec(id uint32) (buildSpec uint32, ok bool) {
	for _, e := range g.edgesOf(id) {
		if e.types() == splice {
			return e.id(), true
		}
	}
	return 0, false
}

// Record returns where an entry is in the file: "HASH":{…} in so many bytes
// from offset on. A missing node has none.
func (g *Graph) Record(id uint32) (offset int64, size int) {
	return g.nodes[id].at, int(g.nodes[id].size)
}

// Size returns the length of the file in bytes.
func (g *Graph) Size() int64 { return g.size }

func (g *Graph) edgesOf(id uint32) []edge {
	n := &g.nodes[id]
	return g.edges[n.edge : n.edge+uint32(n.edges)]
}
