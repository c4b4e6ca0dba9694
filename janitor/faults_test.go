package janitor_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openbraininstitute/spacktainers/internal/testing/size"
	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/lease"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

var errDown = errors.New("503 Slow Down")

func TestPlanningWritesNothing(t *testing.T) {
	for _, name := range bundled {
		m := loaded(t, name)
		if p := plan(t, m, locks(t, name, "env-a"), bold); p.Empty() {
			t.Error("nothing to do")
		}
		if m.writes != 0 {
			t.Errorf("%s: %d writes", name, m.writes)
		}
	}
}

// Any one key that a listing leaves out, of an object that is there: either the
// run is refused, or nothing is lost.
func TestRegression3ListingThatMissesAKey(t *testing.T) {
	for _, name := range bundled {
		roots := locks(t, name, "env-a")
		want := lockClosure(t, false, lockPath(name, "env-a"))
		refused := 0
		for key := range loaded(t, name).contents() {
			m := loaded(t, name)
			m.hide = func(k string) bool { return k == key }
			p, err := planned(t, m, roots, bold)
			if err != nil && !errors.Is(err, janitor.ErrRefused) {
				if !errors.Is(err, scan.ErrIncomplete) {
					t.Errorf("%s without %s: got %v, want ErrIncomplete", name, key, err)
				}
				refused++
				continue
			}
			if err == nil {
				apply(t, m, p)
			}
			v := view(t, m.contents())
			for _, hash := range want {
				if !v.installable[hash] {
					t.Errorf("%s without %s in the listing: lost %s", name, key, hash)
				}
			}
			v.noHoles(t, name+" without "+key)
		}
		if refused < 60 {
			t.Errorf("%s: only %d of the keys were missed", name, refused)
		}
	}
}

func TestRegression3ListingThatBreaksOff(t *testing.T) {
	for _, name := range bundled {
		for _, prefix := range []string{"build_cache/", "v", "blobs/", rootset.Prefix} {
			m := loaded(t, name)
			m.set(rootset.Prefix+"builds/x", []byte(`{"format":1}`), old)
			m.cut = func(p string) error {
				if p == prefix {
					return errDown
				}
				return nil
			}
			if _, err := planned(t, m, locks(t, name, "env-a"), bold); err != nil && !errors.Is(err, errDown) {
				t.Errorf("%s: %v", name, err)
			} else if err == nil && len(slices.DeleteFunc(slices.Collect(maps.Keys(m.objects)), func(k string) bool { return !strings.HasPrefix(k, prefix) })) > 0 {
				t.Errorf("%s: a listing of %s that broke off went unnoticed", name, prefix)
			}
		}
	}
}

func TestRegression3UnreadableObjectsStopTheRun(t *testing.T) {
	for _, name := range bundled {
		for key := range loaded(t, name).contents() {
			if !strings.HasSuffix(key, ".manifest.json") && !strings.HasSuffix(key, "index.json") || strings.Contains(key, "_pgp") {
				continue
			}
			m := loaded(t, name)
			m.reading = func(k string) error {
				if k == key {
					return errDown
				}
				return nil
			}
			if _, err := scan.New(t.Context(), m, scan.Options{}); !errors.Is(err, errDown) || !strings.Contains(err.Error(), key) {
				t.Errorf("%s: got %v for unreadable %s", name, err, key)
			}
			m = loaded(t, name)
			m.set(key, m.data(key)[:len(m.data(key))-20], old)
			if _, err := scan.New(t.Context(), m, scan.Options{}); err == nil || !strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), "remove it by hand") {
				t.Errorf("%s: got %v for %s without its end", name, err, key)
			}
		}
	}
}

// What the error of an index that cannot be read says to do: it makes the cache whole.
func TestAnIndexThatIsDamagedIsRemovedAndWrittenAgain(t *testing.T) {
	for _, name := range bundled {
		m := loaded(t, name)
		key := "build_cache/index.json"
		if m.data(key) == nil {
			sum := blobsOf(t, string(m.data("v3/manifests/index/index.manifest.json")))[0]
			key = "blobs/sha256/" + sum[:2] + "/" + sum
		}
		m.set(key, m.data(key)[:len(m.data(key))/2], old)
		if _, err := clean(m).Reindex(t.Context(), false); err == nil || !strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), "remove it by hand and run janitor:reindex") {
			t.Errorf("%s: got %v", name, err)
		}
		m.remove(key)
		for _, d := range scanned(t, m).Damage {
			if strings.Contains(d.What, "package") {
				t.Errorf("%s: what is wrong with an index is not for a package to mend: %s", name, d.What)
			}
		}
		if _, err := clean(m).Reindex(t.Context(), false); err != nil || !janitor.Verify(scanned(t, m)).Sound() {
			t.Errorf("%s: not sound after that, or: %v", name, err)
		}
	}
}

func TestRegression4RootsThatSayNothingAreRefused(t *testing.T) {
	m := loaded(t, "v3-signed")
	w := newWorld(t, 1, 3)
	w.add(0).External = nil
	empty, err := rootset.ParseLock("empty", []byte(`{"_meta":{"file-type":"spack-lockfile","lockfile-version":5,"specfile-version":4},"roots":[],"concrete_specs":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	tidy := bold
	tidy.Packages = janitor.Packages{}
	aged := bold
	aged.NoRoots = true
	both := aged
	both.MaxAge = day
	for name, tt := range map[string]struct {
		roots  rootset.Roots
		policy janitor.Policy
		say    string
	}{
		"nothing":             {rootset.Roots{}, bold, "--no-roots"},
		"pins only":           {rootset.Roots{Pins: []rootset.Pin{"qs-net"}}, bold, "--no-roots"},
		"an empty lockfile":   {rootset.Roots{Locks: []rootset.Lock{empty}}, bold, "empty holds no specs"},
		"one of two is empty": {rootset.Roots{Locks: append(locks(t, "v3-signed", "env-a").Locks, empty)}, bold, "empty holds no specs"},
		"another cache's":     {rootset.Roots{Locks: []rootset.Lock{w.lock("stranger", w.nodes[0])}}, bold, "another mirror"},
		"no packages":         {locks(t, "v3-signed", "env-a"), tidy, "list nothing"},
		"no roots, no age":    {rootset.Roots{}, aged, "everything would go"},
		"roots and no roots":  {locks(t, "v3-signed", "env-a"), both, "also that there are none"},
	} {
		p, err := planned(t, m, tt.roots, tt.policy)
		if !errors.Is(err, janitor.ErrRefused) || !strings.Contains(err.Error(), tt.say) {
			t.Errorf("%s: got %v, want a refusal with %q", name, err, tt.say)
		}
		if _, err := of(p, m).Apply(t.Context(), p); err == nil || m.writes > 0 {
			t.Errorf("%s: the refused plan was applied", name)
		}
	}
}

func TestRegression4EmptyPackageRepositories(t *testing.T) {
	if p, err := janitor.ReadPackages(t.TempDir()); err == nil {
		t.Errorf("got %v of an empty folder", p)
	}
	for _, dir := range []string{"spack-0.x", "spack_repo"} {
		p, err := janitor.ReadPackages("../testdata/spack/quickstart-repo/" + dir)
		if err != nil {
			t.Fatal(err)
		}
		if !p.Has("qs-net") || p.Has("cmake") {
			t.Errorf("%s: got %v", dir, p)
		}
	}
}

func TestRegression5KeysThatAreNotDeleted(t *testing.T) {
	for _, name := range bundled {
		for _, kind := range []string{".spec.json", ".spec.manifest.json", ".spack", "blobs/"} {
			m := loaded(t, name)
			p := plan(t, m, locks(t, name, "env-a"), bold)
			var stuck string
			for d := range p.Deletions() {
				if strings.Contains(d.Key, kind) {
					stuck = d.Key
				}
			}
			if stuck == "" {
				continue
			}
			tries := 0
			m.stuck = func(key string) error {
				if key == stuck {
					tries++
					return errDown
				}
				return nil
			}
			r, err := of(p, m).Apply(t.Context(), p)
			if !errors.Is(err, janitor.ErrUndeleted) || !strings.Contains(err.Error(), stuck) || len(r.Failed) != 1 {
				t.Fatalf("%s: got %v, %v", name, r, err)
			}
			if tries < 2 {
				t.Errorf("%s was not tried again", stuck)
			}
			v := view(t, m.contents())
			v.noHoles(t, name)
			hash := hashAtEnd.FindStringSubmatch(stuck)
			if hash != nil && hash[2] != "spack" && !v.installable[hash[1]] {
				t.Errorf("%s stayed, what it names did not", stuck)
			}
			m.stuck = nil
			apply(t, m, plan(t, m, locks(t, name, "env-a"), bold))
			if diff := cmp.Diff(lockClosure(t, false, lockPath(name, "env-a")), sorted(view(t, m.contents()).installable)); diff != "" {
				t.Errorf("%s: after the second run (-want +got):\n%s", name, diff)
			}
		}
	}
}

// The process is killed at each of its writes, and run again when the lease
// has run out.
func TestRegression6KilledAtEveryWrite(t *testing.T) {
	size.Need(t, size.All) // some seconds
	for _, name := range bundled {
		{
			roots := locks(t, name, "env-b")
			want := lockClosure(t, false, lockPath(name, "env-b"))
			start := loaded(t, name)
			p := plan(t, start, roots, bold)
			for n := 1; ; n++ {
				m := start.clone()
				left := n
				ctx, kill := context.WithCancel(t.Context())
				m.before = func(what, key string) error {
					if left--; left < 0 {
						kill()
						return errDown
					}
					return nil
				}
				j := of(p, m)
				_, err := j.Apply(ctx, p)
				kill()
				if err == nil {
					break // it has no more than n writes
				}
				when := fmt.Sprintf("%s killed at write %d", name, n)
				v := view(t, m.contents())
				v.noHoles(t, when)
				for _, hash := range want {
					if !v.installable[hash] {
						t.Errorf("%s: lost %s", when, hash)
					}
				}
				m.before = nil
				j.Now = func() time.Time { return now.Add(time.Hour) }
				m.clock = j.Now
				if again := plan(t, m, roots, bold); !again.Empty() {
					if _, err := j.Apply(t.Context(), again); err != nil {
						t.Fatalf("%s: run again: %v", when, err)
					}
				}
				v = view(t, m.contents())
				v.noHoles(t, when+", run again")
				if diff := cmp.Diff(want, sorted(v.installable)); diff != "" || v.stale {
					t.Fatalf("%s: run again: stale %v (-want +got):\n%s", when, v.stale, diff)
				}
				if last := plan(t, m, roots, bold); !quiet(last) {
					t.Fatalf("%s: a third run would do something: %v %v", when, list(last.Deletions()), last.Mend)
				}
			}
		}
	}
}

func TestRegression7TwoJanitors(t *testing.T) {
	for _, name := range bundled {
		m := loaded(t, name)
		roots := locks(t, name, "env-a")
		p := plan(t, m, roots, bold)
		tried := 0
		m.before = func(what, key string) error {
			if strings.Contains(key, "lease") {
				return nil
			}
			m.before = nil
			tried++
			before := m.contents()
			_, err := of(p, m.plain()).Apply(t.Context(), p)
			if !errors.Is(err, lease.ErrTaken) || !strings.Contains(err.Error(), "test, run "+p.Run) {
				t.Errorf("%s: the second janitor got %v", name, err)
			}
			if diff := cmp.Diff(before, m.contents()); diff != "" {
				t.Errorf("%s: the second janitor changed the cache", name)
			}
			return nil
		}
		apply(t, m, p)
		if tried == 0 {
			t.Error("no second janitor")
		}
		if _, ok := m.objects[janitor.Prefix+"lease"]; ok {
			t.Error("the lease was not given back")
		}
	}
}

// A push is under way: the pusher has seen what is there and skips it, its
// own specs come later.
func TestRegression7PushWhileWePrune(t *testing.T) {
	for layout := 2; layout <= 3; layout++ {
		w := newWorld(t, 7, layout)
		base, top, root := w.add(0), w.add(0), w.add(0)
		for _, n := range []*node{base, top, root} {
			n.External = nil
		}
		var d dep
		d.Name, d.Hash, d.Parameters.Deptypes = base.Name, base.Hash, []string{"link"}
		top.Dependencies = []dep{d}
		w.push(base, old)
		w.push(root, old)
		w.updateIndex(old)
		roots := rootset.Roots{Locks: []rootset.Lock{w.lock("env", root)}}
		p := plan(t, w.m, roots, bold)
		if len(list(p.Specs())) != 1 {
			t.Fatalf("got %v, want base to go", list(p.Specs()))
		}
		w.m.before = func(what, key string) error {
			if strings.Contains(key, "index") { // base is about to leave the index
				w.m.before = nil
				w.push(top, now)
			}
			return nil
		}
		r := apply(t, w.m, p)
		v := view(t, w.m.contents())
		v.noHoles(t, "pushed meanwhile")
		if !v.installable[base.Hash] || !v.installable[top.Hash] || len(r.Stayed) == 0 {
			t.Errorf("layout %d: what was pushed lacks what it needs: %v", layout, r)
		}
		for key, indexed := range v.indexed {
			if !indexed[base.Hash] {
				t.Errorf("%s: base did not come back", key)
			}
		}
	}
}

func TestIndexReplacedMeanwhile(t *testing.T) {
	for layout := 2; layout <= 3; layout++ {
		w := newWorld(t, 3, layout)
		stays, goes, fresh := w.add(0), w.add(0), w.add(0)
		for _, n := range []*node{stays, goes, fresh} {
			n.External = nil
		}
		w.push(stays, old)
		w.push(goes, old)
		w.updateIndex(old)
		p := plan(t, w.m, rootset.Roots{Locks: []rootset.Lock{w.lock("env", stays)}}, bold)
		times := 0
		w.m.before = func(what, key string) error {
			if what == "put" && (key == "build_cache/index.json" || key == "v3/manifests/index/index.manifest.json") && times < 2 {
				times++
				w.push(fresh, now)
				w.updateIndex(now.Add(time.Duration(times) * time.Second))
				fresh = w.add(0)
				fresh.External = nil
			}
			return nil
		}
		apply(t, w.m, p)
		v := view(t, w.m.contents())
		v.noHoles(t, "replaced meanwhile")
		if times != 2 || v.installable[goes.Hash] || !v.installable[stays.Hash] {
			t.Errorf("layout %d: raced %d times: %v", layout, times, v.installable)
		}
		for key, indexed := range v.indexed {
			if len(indexed) != 3 || v.stale {
				t.Errorf("%s has %d entries, want 3", key, len(indexed))
			}
		}
	}
}
