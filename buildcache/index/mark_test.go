package index_test

import (
	"slices"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
)

func hashes(g *index.Graph, ids []uint32) []buildcache.Hash {
	var list []buildcache.Hash
	for _, id := range ids {
		list = append(list, g.Hash(id))
	}
	return list
}

func marked(g *index.Graph, b index.Bits) []buildcache.Hash {
	list := hashes(g, slices.Collect(b.All()))
	slices.Sort(list)
	return list
}

func TestMarkFollowsTheTypesAskedFor(t *testing.T) {
	g := read(t, []byte(small))
	tests := []struct {
		types buildcache.DepTypes
		want  []buildcache.Hash
	}{
		{0, []buildcache.Hash{hashB}},
		{buildcache.Link, []buildcache.Hash{hashA, hashB}},
		{buildcache.Runtime, []buildcache.Hash{hashA, hashB, hashD}},
		{buildcache.Build, []buildcache.Hash{hashA, hashB, hashC}},
	}
	for _, tt := range tests {
		got := g.Mark([]uint32{id(t, g, hashB)}, tt.types)
		if !slices.Equal(marked(g, got), tt.want) || got.Count() != len(tt.want) {
			t.Errorf("types %b: got %v, want %v", tt.types, marked(g, got), tt.want)
		}
	}
	if got := g.Mark(nil, buildcache.Runtime); got.Count() != 0 {
		t.Errorf("no roots: got %v", marked(g, got))
	}
}

func TestMarkKeepsWhoseBinaryASplicedSpecUses(t *testing.T) {
	g := read(t, []byte(database(
		record(hashA, "a", "1", `"build_spec":{"name":"a","hash":"`+hashB+`"},`, 0, true),
		record(hashB, "a", "1", "", 0, true, dependency(hashC, "link")),
	)))
	got := marked(g, g.Mark([]uint32{id(t, g, hashA)}, buildcache.Runtime))
	if want := []buildcache.Hash{hashA, hashB, hashC}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestTraceTellsAShortestChain(t *testing.T) {
	g := read(t, []byte(small))
	trace := g.Trace([]uint32{id(t, g, hashB)}, buildcache.Runtime)
	got := hashes(g, trace.Chain(id(t, g, hashD)))
	if want := []buildcache.Hash{hashB, hashA, hashD}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := hashes(g, trace.Chain(id(t, g, hashB))); !slices.Equal(got, []buildcache.Hash{hashB}) {
		t.Errorf("of a root: got %v", got)
	}
	if got := trace.Chain(id(t, g, hashC)); got != nil {
		t.Errorf("of what is not marked: got %v", got)
	}
}

func TestMarkEndsInACircle(t *testing.T) {
	g := read(t, []byte(database(
		record(hashA, "a", "1", "", 0, true, dependency(hashB, "run")),
		record(hashB, "b", "1", "", 0, true, dependency(hashA, "run"), dependency(hashB, "run")),
	)))
	if got := g.Trace([]uint32{0}, buildcache.Run); got.Count() != 2 || len(got.Chain(1)) != 2 {
		t.Errorf("got %v", marked(g, got.Bits))
	}
}

func TestBits(t *testing.T) {
	a, b := index.NewBits(200), index.NewBits(200)
	for _, id := range []uint32{0, 63, 64, 199} {
		a.Set(id)
	}
	b.Set(5)
	a.Add(b)
	a.Clear(64)
	if got, want := slices.Collect(a.All()), []uint32{0, 5, 63, 199}; !slices.Equal(got, want) || a.Count() != 4 {
		t.Errorf("got %v, want %v", got, want)
	}
	if a.Has(64) || !a.Has(199) || a.Has(5000) {
		t.Error("Has is wrong")
	}
}
