package janitor_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
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
		s.roots.Locks = []rootset.Lock{s.lock("env", root), s.lock("more", d)}
		s.at = s.at.Add(7 * day)
		s.prune()
		if !s.installs(d) || !s.indexed(d) {
			t.Error("d is in no index")
		}
	})
}

// While a package is copied in layout 2, spec file first, reindex finds it as
// whole as ever in layout 3.
func TestReindexKeepsWhatIsWholeInTheOtherLayout(t *testing.T) {
	s := newStage(t, 3)
	a := s.named("a")
	s.push(a, old)
	s.updateIndex(old)
	s.layout = 2
	for _, u := range s.uploads(a) {
		if !strings.HasSuffix(u.key, ".spack") {
			s.m.set(u.key, u.data, s.at)
		}
	}
	if _, err := s.janitor().Reindex(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if v := view(t, s.m.contents()); !v.indexed["v3/manifests/index/index.manifest.json"][a.Hash] {
		t.Errorf("a is not in the index: %v", v.indexed)
	}
}

// A run that is stopped between its look and its lease deletes by no old look.
func TestAStopBetweenTheLookAndTheLease(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s, _, d := condemnedStage(t, layout)
		var listed time.Time
		settled, armed := false, false
		j := s.janitor()
		sleep := j.Sleep
		j.Sleep = func(ctx context.Context, d time.Duration) error { settled = true; return sleep(ctx, d) }
		s.m.cut = func(string) error { // it takes a while, so that the lease is looked at again
			s.at = s.at.Add(2 * time.Second)
			listed, armed = s.at, settled
			return nil
		}
		s.m.reading = func(key string) error {
			if armed && strings.HasSuffix(key, "/lease") {
				s.at, armed, settled = s.at.Add(7*time.Minute), false, false
			}
			return nil
		}
		s.m.before = func(what, key string) error {
			if age := s.at.Sub(listed); what == "delete" && !ours(key) && age > 5*time.Minute {
				t.Errorf("%s goes by a look that is %v old", key, age)
			}
			return nil
		}
		if _, err := j.Prune(t.Context()); err != nil || s.installs(d) || settled {
			t.Errorf("d is there: %v; it was not stopped: %v", err, settled)
		}
	})
}

// What another process is to delete is in no index any more, though a push
// comes meanwhile that needs it.
func TestWhatIsHandedOverComesBackIntoNoIndex(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s, _, d := condemnedStage(t, layout)
		j := s.janitor()
		steps := 0
		j.HandOver = func(int, []buildcache.Object) error {
			if steps++; steps == 1 {
				s.push(s.named("late", d), s.at)
			}
			return nil
		}
		if r, err := j.Prune(t.Context()); err != nil || steps != 2 || s.indexed(d) {
			t.Errorf("got %+v, %v after %d steps; in the index: %v", r, err, steps, s.indexed(d))
		}
	})
}

// Nor by a purge of something else before that process is at work.
func TestAPurgePutsBackNothingThatIsHandedOver(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s, _, d := condemnedStage(t, layout)
		j := s.janitor()
		j.HandOver = func(int, []buildcache.Object) error { return nil }
		if _, err := j.Prune(t.Context()); err != nil || s.indexed(d) {
			t.Fatalf("it was not taken out of the index: %v", err)
		}
		s.push(s.named("other"), s.at)
		p, err := s.janitor().PlanPurge(t.Context(), janitor.Purge{Pin: "other"})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := s.janitor().Apply(t.Context(), p); err != nil || r.Specs != 1 || s.indexed(d) {
			t.Errorf("got %+v, %v; in the index: %v", r, err, s.indexed(d))
		}
		if r := s.prune(); r.Specs != 1 || s.installs(d) {
			t.Errorf("got %+v", r)
		}
	})
}

// A write of the index that is stuck on its way has less time than the lease.
func TestAWriteOfTheIndexEndsBeforeTheLease(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s, _, d := condemnedStage(t, layout)
		j := s.janitor()
		bounded := false
		j.Store = boundedStore{s.m, func(ctx context.Context) {
			until, ok := ctx.Deadline()
			bounded = ok && time.Until(until) < 10*time.Minute
		}}
		if _, err := j.Prune(t.Context()); err != nil || s.installs(d) || !bounded {
			t.Errorf("got %v; it was bounded: %v", err, bounded)
		}
	})
}

type boundedStore struct {
	*memory
	see func(context.Context)
}

func (b boundedStore) Put(ctx context.Context, key string, body io.ReaderAt, size int64, opts buildcache.PutOptions) (string, error) {
	if strings.HasSuffix(key, "index.json") || strings.HasSuffix(key, "index.manifest.json") {
		b.see(ctx)
	}
	return b.memory.Put(ctx, key, body, size, opts)
}

// A run is interrupted while it waits for clients to forget the index of before, and another one is
// begun at once: it waits as well.
func TestAnInterruptedWaitIsWaitedAgain(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s, _, d := condemnedStage(t, layout)
		ctx, interrupt := context.WithCancel(t.Context())
		j := s.janitor()
		j.Sleep = func(context.Context, time.Duration) error { interrupt(); return ctx.Err() }
		if _, err := j.Prune(ctx); err == nil || s.indexed(d) {
			t.Fatalf("it was not interrupted behind the swap: %v", err)
		}
		swapped := s.now()
		s.pass(3 * time.Minute)
		if s.prune(); s.installs(d) {
			t.Error("d stays")
		}
		if waited := s.now().Sub(swapped); waited < 10*time.Minute || waited > 11*time.Minute {
			t.Errorf("d went %v after its entry", waited)
		}
	})
}
