package janitor_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
)

const oldRun = "20260101T000000.000Z"

// leaveOldRun does to a spec what a version without a waiting room did that was
// asked to keep copies: journal, copies, index, deletion.
func leaveOldRun(s *stage, n *node) {
	const prefix = janitor.Prefix
	all := s.uploads(n)
	s.m.set(prefix+"runs/"+oldRun+"/plan.json", []byte(`{"owner":"o","began":"2026-01-01T00:00:00Z","keep_until":"2026-02-01T00:00:00Z","plan":{"run":"`+oldRun+`"},"specs":[]}`), old)
	for _, u := range all {
		s.m.set(prefix+"trash/"+oldRun+"/"+u.key, u.data, old)
	}
	s.m.set(prefix+"trash/"+oldRun+"/indexes/"+sum([]byte("index")), []byte("index"), old)
	s.m.set(prefix+"runs/"+oldRun+"/step-0001.json", []byte(`{"at":"2026-01-01T00:00:00Z","what":"copied to the trash"}`), old)
	for _, u := range all {
		s.m.remove(u.key)
	}
	s.updateIndex(old)
	s.m.set(prefix+"runs/"+oldRun+"/step-0002.json", []byte(`{"at":"2026-01-01T00:00:01Z","what":"done"}`), old)
	s.m.set(prefix+"lease.json", []byte(`{"owner":"o","nonce":"n","run":"`+oldRun+`","expires":"2026-01-01T00:10:00Z"}`), old)
}

func TestWhatAnEarlierVersionHasTakenAwayIsRestored(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s := newStage(t, layout)
		root, d := s.named("root"), s.named("d")
		s.push(root, old)
		s.push(d, old)
		leaveOldRun(s, d)
		j := s.janitor()
		runs, err := j.OldRuns(t.Context())
		if want := len(s.uploads(d)) + 1; err != nil || len(runs) != 1 || runs[0].Run != oldRun || runs[0].Objects != want {
			t.Errorf("got %+v, %v", runs, err)
		}
		for _, name := range []string{"", "20250101T000000.000Z", ".."} {
			if _, err := j.Restore(t.Context(), name); !errors.Is(err, janitor.ErrNothingFor) {
				t.Errorf("run %q: %v", name, err)
			}
		}
		for range 2 { // what is there stays
			res, err := j.Restore(t.Context(), oldRun)
			if err != nil || !s.installs(d) || !s.indexed(d) || !s.indexed(root) {
				t.Fatalf("got %+v, %v", res, err)
			}
			view(t, s.m.contents()).noHoles(t, "restored")
		}
		if got := string(s.m.data(janitor.Prefix + "lease.json")); !strings.Contains(got, "update") {
			t.Errorf("an earlier version would work on: %s", got)
		}

		s.roots.Locks = []rootset.Lock{s.lock("env", root)}
		s.prune()
		if !s.installs(d) {
			t.Error("what was restored is gone at once")
		}
		before := s.m.contents()
		if res, err := j.RemoveOldRuns(t.Context()); err != nil || res.Objects != runs[0].Objects+3 {
			t.Errorf("got %+v, %v", res, err)
		}
		if runs, err = j.OldRuns(t.Context()); err != nil || len(runs) > 0 || !cmp.Equal(before, s.m.contents()) {
			t.Errorf("left are %v, %v", runs, err)
		}
		s.pass(10 * time.Minute)
		s.prune() // the room is there
	})
}

// A copy that cannot be made leaves no spec file without its tarball.
func TestARestoreThatFailsLeavesNoHole(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s := newStage(t, layout)
		root, d := s.named("root"), s.named("d")
		s.push(root, old)
		s.push(d, old)
		leaveOldRun(s, d)
		s.m.before = func(what, key string) error {
			if what == "copy" && (strings.HasSuffix(key, ".spack") || strings.HasPrefix(key, "blobs/")) {
				return errDown
			}
			return nil
		}
		if _, err := s.janitor().Restore(t.Context(), oldRun); !errors.Is(err, errDown) {
			t.Errorf("got %v", err)
		}
		view(t, s.m.contents()).noHoles(t, "half restored")
		s.m.before = nil
		if _, err := s.janitor().Restore(t.Context(), oldRun); err != nil || !s.installs(d) || !s.indexed(d) {
			t.Errorf("again: %v", err)
		}
	})
}

// Copies of which some are gone, as when --remove was killed: what lacks something stays away, and is
// named.
func TestARestoreOfWhatIsNotWholeLeavesNoHole(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s := newStage(t, layout)
		root, d, e := s.named("root"), s.named("d"), s.named("e")
		for _, n := range []*node{root, d, e} {
			s.push(n, old)
		}
		leaveOldRun(s, d)
		leaveOldRun(s, e)
		lost := s.uploads(d)[0].key
		s.m.remove(janitor.Prefix + "trash/" + oldRun + "/" + lost)
		res, err := s.janitor().Restore(t.Context(), oldRun)
		if err == nil || !strings.Contains(err.Error(), d.Hash) || !strings.Contains(err.Error(), lost) || res.Specs != 1 {
			t.Errorf("got %+v, %v", res, err)
		}
		if s.present(d) || !s.installs(e) || !s.indexed(e) || !s.indexed(root) {
			t.Errorf("d is there: %v; e or an entry is not", s.present(d))
		}
		view(t, s.m.contents()).noHoles(t, "restored")
	})
}
