package inspect_test

import (
	"slices"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/inspect"
)

func TestCompareTellsKindsOfChangesApart(t *testing.T) {
	spec := func(version, variants, hash string) inspect.ShownSpec {
		return inspect.ShownSpec{Name: "p", Version: version, Variants: variants, Hash: buildcache.Hash(hash)}
	}
	for _, c := range []struct {
		name     string
		old, new []inspect.ShownSpec
		want     []inspect.Change
	}{
		{"nothing", []inspect.ShownSpec{spec("1", "", "a")}, []inspect.ShownSpec{spec("1", "", "a")}, nil},
		{"a version", []inspect.ShownSpec{spec("1", "", "a")}, []inspect.ShownSpec{spec("2", "", "b")}, []inspect.Change{{"p", inspect.Version, "1", "2"}}},
		{"a dependency", []inspect.ShownSpec{spec("1", "+x", "a")}, []inspect.ShownSpec{spec("1", "+x", "b")}, []inspect.Change{{"p", inspect.Rebuilt, "1/a", "1/b"}}},
		{"one of two", []inspect.ShownSpec{spec("1", "", "a"), spec("2", "+x ~y", "b")}, []inspect.ShownSpec{spec("1", "", "a"), spec("2", "+x +y", "c")},
			[]inspect.Change{{"p", inspect.Variants, "~y", "+y"}}},
		{"one more", []inspect.ShownSpec{spec("1", "", "a")}, []inspect.ShownSpec{spec("1", "", "a"), spec("2", "", "b")}, []inspect.Change{{"p", inspect.Added, "", "2"}}},
		{"one less", []inspect.ShownSpec{spec("1", "", "a")}, nil, []inspect.Change{{"p", inspect.Removed, "1", ""}}},
	} {
		got := inspect.Compare(inspect.Contents{Specs: c.old}, inspect.Contents{Specs: c.new}).Changes
		if !slices.Equal(got, c.want) && len(got)+len(c.want) > 0 {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}
