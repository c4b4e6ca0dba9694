package history

import (
	"reflect"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/testing/reallocks"
)

var start = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

func TestAGeneratedHistoryIsSoundAndTheSameForTheSameSeed(t *testing.T) {
	locks, err := reallocks.Read()
	if err != nil {
		t.Fatal(err)
	}
	h := Generate(locks, GuessedCost, Generated{Seed: 1, Start: start})
	if err := h.Check(); err != nil {
		t.Fatal(err)
	}
	hashes := map[string]bool{}
	var again int // of roots that were there before
	seen := map[int]bool{}
	for _, s := range h.Specs {
		hashes[string(s.Hash)] = true
	}
	for _, e := range h.Events {
		for _, r := range e.Roots {
			if seen[r] {
				again++
			}
			seen[r] = true
		}
	}
	if len(hashes) != len(h.Specs) || again < 20 {
		t.Errorf("%d specs with %d hashes; %d roots that were there before", len(h.Specs), len(hashes), again)
	}
	t.Logf("%d specs, %d events", len(h.Specs), len(h.Events))
	if other := Generate(locks, GuessedCost, Generated{Seed: 1, Start: start}); !reflect.DeepEqual(h, other) {
		t.Error("the same seed makes another history")
	}
	if other := Generate(locks, GuessedCost, Generated{Seed: 2, Start: start}); reflect.DeepEqual(h.Events, other.Events) {
		t.Error("another seed makes the same history")
	}
}
