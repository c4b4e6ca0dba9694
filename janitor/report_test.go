package janitor_test

import (
	"errors"
	"testing"

	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
)

func TestReport(t *testing.T) {
	for layout := 2; layout <= 3; layout++ {
		w := newWorld(t, 5, layout)
		one, two, fresh := w.add(0), w.add(0), w.add(0)
		for i, n := range []*node{one, two, fresh} {
			n.External, n.Name, n.Version = nil, "same", string(rune('1'+i))
		}
		fresh.Name = "other"
		w.push(one, old)
		w.push(two, now.Add(-20*day))
		w.updateIndex(old)
		w.push(fresh, now)
		orphan := blobKey([]byte("nobody's"))
		w.m.set(orphan, []byte("nobody's"), old)
		w.m.set(janitor.Prefix+"runs/x/plan.json", []byte("{}"), old)
		w.m.set("README", []byte("foreign"), old)

		s := scanned(t, w.m)
		r, err := janitor.NewReport(t.Context(), w.m, s, 2, now)
		if err != nil {
			t.Fatal(err)
		}
		if p := plan(t, w.m, rootset.Roots{Locks: []rootset.Lock{w.lock("env", one)}}, bold); r.Totals != p.Before {
			t.Errorf("got %+v, a plan says %+v", r.Totals, p.Before)
		}
		if len(r.Unindexed) != 1 || r.Own.Objects != 1 || r.Own.Bytes != 2 || r.Damaged != 0 || len(r.Biggest) != 2 || r.Biggest[0].Bytes < r.Biggest[1].Bytes {
			t.Errorf("got %+v", r)
		}
		if layout == 3 && (r.Orphans.Objects != 1 || r.Orphans.Bytes != 8) {
			t.Errorf("orphans: %+v", r.Orphans)
		}
		if len(r.Packages) != 2 || r.Packages[0].Name != "same" || r.Packages[0].Specs != 2 || r.Packages[0].Versions != 2 || !r.Packages[0].Newest.Equal(now.Add(-20*day)) {
			t.Errorf("packages: %+v", r.Packages)
		}
		want := map[string]int{"up to a week": 1, "up to 30 days": 1, "up to a year": 1}
		for _, a := range r.Ages {
			if a.Specs != want[a.Name] {
				t.Errorf("%s: %+v", a.Name, a)
			}
		}
		if w.m.writes != 0 {
			t.Errorf("%d writes", w.m.writes)
		}
		w.m.cut = func(string) error { return errDown }
		if _, err := janitor.NewReport(t.Context(), w.m, s, 2, now); !errors.Is(err, errDown) {
			t.Error("a listing that broke off went unnoticed")
		}
	}
}
