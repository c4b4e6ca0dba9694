package retain

import (
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// random makes items, each of which needs some of those before it.
func random(r *rand.Rand, n int) []Item {
	items := make([]Item, n)
	for i := range items {
		items[i] = Item{Size: 1 + r.Int64N(1000), Seconds: math.Floor(math.Exp(4*r.Float64()*r.Float64()) * 10), Marked: r.IntN(10) == 0}
		for range r.IntN(4) {
			if i > 0 {
				items[i].Needs = append(items[i].Needs, r.IntN(i))
			}
		}
	}
	return items
}

func total(items []Item, goes func(int) bool) (size int64) {
	for i, item := range items {
		if goes(i) {
			size += item.Size
		}
	}
	return size
}

// broken reports whether something stays without what it needs.
func broken(items []Item, goes []bool) bool {
	for i, item := range items {
		if !goes[i] && slices.ContainsFunc(item.Needs, func(n int) bool { return goes[n] }) {
			return true
		}
	}
	return false
}

func TestNoSingleExchangeFreesAsMuchAndLosesLess(t *testing.T) {
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 2))
		items := random(r, 1+r.IntN(60))
		all := total(items, func(int) bool { return true })
		free := r.Int64N(all + all/10)
		goes := Choose(items, free)
		if broken(items, goes) {
			t.Fatalf("seed %d: something stays without what it needs", seed)
		}
		freed := total(items, func(i int) bool { return goes[i] })
		if freed < min(free, all) {
			t.Fatalf("seed %d: %d of %d bytes are freed", seed, freed, free)
		}
		for dear := range items {
			if !goes[dear] {
				continue
			}
			goes[dear] = false
			if freed-items[dear].Size >= free && !broken(items, goes) {
				t.Errorf("seed %d: %d goes for nothing", seed, dear)
			}
			for cheap := range items {
				if goes[cheap] || cheap == dear || items[dear].Marked && !items[cheap].Marked {
					continue
				}
				goes[cheap] = true
				if !broken(items, goes) && freed-items[dear].Size+items[cheap].Size >= min(freed, free) && items[cheap].Seconds < items[dear].Seconds {
					t.Errorf("seed %d: %d (%d bytes, %g s) goes, and %d (%d bytes, %g s) could instead", seed,
						dear, items[dear].Size, items[dear].Seconds, cheap, items[cheap].Size, items[cheap].Seconds)
				}
				goes[cheap] = false
			}
			goes[dear] = true
		}
	}
}

// The best choice of few items can be found by trying all. Choose is near it.
func TestAChoiceIsNearTheBestOne(t *testing.T) {
	sum, best := 0.0, 0.0
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 3))
		items := random(r, 12)
		for i := range items {
			items[i].Marked = false
		}
		free := total(items, func(int) bool { return true }) * (1 + r.Int64N(9)) / 10
		sum += Seconds(items, Choose(items, free))
		least := math.Inf(1)
		goes := make([]bool, len(items))
		for set := range 1 << len(items) {
			for i := range items {
				goes[i] = set&(1<<i) != 0
			}
			if total(items, func(i int) bool { return goes[i] }) >= free && !broken(items, goes) {
				least = min(least, Seconds(items, goes))
			}
		}
		best += least
	}
	t.Logf("%.1f %% more seconds than the best", 100*(sum/best-1))
	if sum > 1.1*best || sum < best {
		t.Errorf("got %g seconds, the best is %g", sum, best)
	}
}

func TestWhatWasMarkedGoesFirst(t *testing.T) {
	items := []Item{{Size: 10, Seconds: 1}, {Size: 10, Seconds: 1000, Marked: true}, {Size: 10, Seconds: 500, Marked: true}}
	for free, want := range map[int64][]bool{0: {false, false, false}, 10: {false, false, true}, 20: {false, true, true}, 30: {true, true, true}, 99: {true, true, true}} {
		if goes := Choose(items, free); !slices.Equal(goes, want) {
			t.Errorf("to free %d: got %v, want %v", free, goes, want)
		}
	}
}

// What has gone is no item, and what it needs is needed all the same.
func TestWhatIsNeededByWayOfWhatHasGone(t *testing.T) {
	graph := map[string][]string{"app": {"lib", "gone"}, "gone": {"below", "lost"}, "lost": {"gone2", "tool"}, "gone2": {"tool", "lost"}, "lib": {"below"}}
	edges := func(of string) iter.Seq[string] { return slices.Values(graph[of]) }
	items := map[string]int{"app": 0, "lib": 1, "below": 2, "tool": 3}
	for of, want := range map[string][]int{"app": {1, 2, 3}, "lib": {2}, "tool": nil} {
		got := Needs(of, edges, items)
		if slices.Sort(got); !slices.Equal(slices.Compact(got), want) {
			t.Errorf("%s needs %v, want %v", of, got, want)
		}
	}
}
