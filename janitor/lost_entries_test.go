package janitor_test

import (
	"context"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/janitor"
)

// A run is killed behind the swap of the index; then what it was about to
// delete is pushed again, by somebody who leaves the index alone. It waits anew,
// and whoever needs it meanwhile finds it in the index.
func TestAKillBehindTheSwapAndAPushAgain(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s, root, d := condemnedStage(t, layout)
		ctx, kill := context.WithCancel(t.Context())
		j := s.janitor()
		j.Sleep = func(context.Context, time.Duration) error { kill(); return ctx.Err() }
		if _, err := j.Prune(ctx); err == nil || s.indexed(d) {
			t.Fatalf("it was not killed behind the swap: %v", err)
		}
		s.push(d, s.at)
		s.at = s.at.Add(7 * day)
		if r := s.prune(); r.Condemned != 1 || r.Specs != 0 || !s.indexed(d) {
			t.Errorf("got %+v; in the index: %v", r, s.indexed(d))
		}
		s.roots.Locks = []janitor.Lock{s.lock("env", root), s.lock("more", d)}
		s.at = s.at.Add(7 * day)
		s.prune()
		if !s.installs(d) || !s.indexed(d) {
			t.Error("d is in no index")
		}
	})
}
