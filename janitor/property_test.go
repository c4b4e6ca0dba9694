package janitor_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openbraininstitute/spacktainers/internal/testing/size"
	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
)

// A scene is a random cache with everything that comes with years of use.
type scene struct {
	*world
	roots []*node
	locks []rootset.Lock
	age   map[string]time.Duration // of what is in the cache
}

func newScene(t testing.TB, seed uint64) *scene {
	s := &scene{world: newWorld(t, seed, 2+int(seed%2)), age: map[string]time.Duration{}}
	for range 5 + s.rand.IntN(25) {
		s.add(s.rand.IntN(4))
	}
	for _, n := range s.nodes {
		if n.External != nil || s.rand.IntN(8) == 0 {
			continue // never pushed
		}
		age := time.Duration(s.rand.IntN(200*24)) * time.Hour
		s.push(n, now.Add(-age))
		s.age[n.Hash] = age
	}
	s.updateIndex(old)
	for _, n := range s.nodes { // pushed since the index was written
		if s.age[n.Hash] == 0 && n.External == nil && s.rand.IntN(3) == 0 {
			age := time.Duration(s.rand.IntN(100)) * time.Hour
			s.push(n, now.Add(-age))
			s.age[n.Hash] = age
		}
	}
	for range 1 + s.rand.IntN(2) {
		var roots []*node
		for range 1 + s.rand.IntN(2) {
			roots = append(roots, s.nodes[s.rand.IntN(len(s.nodes))])
		}
		s.roots = append(s.roots, roots...)
		s.locks = append(s.locks, s.lock(fmt.Sprint("env", len(s.locks)), roots...))
	}
	s.orphans()
	s.m.set("README", []byte("hello"), old)
	s.m.set("build_cache/notes.txt", []byte("foreign"), old)
	s.m.set("blobs/sha256/aa/short", []byte("foreign"), old)
	return s
}

// orphans leaves behind what pushes that were killed leave behind.
func (s *scene) orphans() {
	for i := range s.rand.IntN(4) {
		data := fmt.Appendf(nil, "orphan %d", i)
		at := now.Add(-time.Duration(s.rand.IntN(100)) * time.Hour)
		s.m.set(blobKey(data), data, at)
		hash := strings.Repeat(string("abcd"[i]), 32)
		s.m.set("build_cache/linux-debian12-x86_64_v3/gcc-12.2.0/o-1/linux-debian12-x86_64_v3-gcc-12.2.0-o-1-"+hash+".spack", data, at)
	}
}

func (s *scene) policy() janitor.Policy {
	p := janitor.Policy{MaxFraction: 1, Grace: time.Duration(s.rand.IntN(96)) * time.Hour, DropBuild: s.rand.IntN(2) == 0}
	if s.rand.IntN(2) == 0 {
		p.MaxAge = time.Duration(s.rand.IntN(200)) * day
	}
	if s.rand.IntN(3) == 0 {
		p.KeepLast = 1 + s.rand.IntN(2)
	}
	return p
}

// needed says, by other means than the janitor's, what must stay and what of
// that by roots or grace alone.
func (s *scene) needed(p janitor.Policy) map[string]bool {
	var hashes []string
	for _, r := range s.roots {
		hashes = append(hashes, r.Hash)
	}
	for h, age := range s.age {
		if age < p.Grace || age < p.MaxAge {
			hashes = append(hashes, h)
		}
	}
	return s.closure(p.DropBuild, hashes...)
}

func TestPromisesHoldInRandomCaches(t *testing.T) {
	for seed := range uint64(seeds(t)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := newScene(t, seed)
			policy := s.policy()
			before := view(t, s.m.contents())
			young := s.youngerThan(policy.Grace)
			roots := rootset.Roots{Locks: s.locks}
			p, err := planned(t, s.m, roots, policy)
			if err != nil {
				if strings.Contains(err.Error(), "not one spec") {
					return // a lockfile of which nothing was pushed
				}
				t.Fatal(err)
			}
			s.m.before = func(what, key string) error {
				view(t, s.m.contents()).noHoles(t, "before "+what+" "+key)
				return nil
			}
			apply(t, s.m, p)
			s.m.before = nil
			after := view(t, s.m.contents())
			after.noHoles(t, "after")
			if after.stale {
				t.Error("the index's checksum is stale")
			}
			need := s.needed(policy)
			for h := range need {
				if before.installable[h] && !after.installable[h] {
					t.Errorf("lost %s", s.byHash[h].Name)
				}
			}
			if policy.KeepLast == 0 {
				for h := range after.installable {
					if !need[h] {
						t.Errorf("%s@%s stayed, nothing needs it", s.byHash[h].Name, s.byHash[h].Version)
					}
				}
			}
			contents := s.m.contents()
			for key, data := range young {
				if contents[key] != data && !strings.Contains(key, "index") {
					t.Errorf("%s was touched, it is younger than the grace period", key)
				}
			}
			for _, key := range []string{"README", "build_cache/notes.txt", "blobs/sha256/aa/short"} {
				if contents[key] == "" {
					t.Errorf("%s is gone, it is none of our business", key)
				}
			}
			again, err := planned(t, s.m, roots, policy)
			if policy.Grace > 0 && (err != nil || !quiet(again)) {
				t.Errorf("a second run: %v, %+v", err, list(again.Deletions()))
			}
			s.checkChains(p)
		})
	}
}

func seeds(t testing.TB) int {
	t.Helper()
	if size.Race {
		return 30
	}
	return size.Pick(15, 300, 3000)
}

// quiet reports that a plan does nothing but to take the blob that was the
// index before, for which nothing waits here.
func quiet(p *janitor.Plan) bool {
	for d := range p.Deletions() {
		if d.Kind != "blob" || d.Reason != "orphan" {
			return false
		}
	}
	return len(p.Mend) == 0 && p.Due.Objects <= 2 && p.Due.Specs == 0
}

func (s *scene) youngerThan(age time.Duration) map[string]string {
	young := map[string]string{}
	for key, o := range s.m.objects {
		if now.Sub(o.at) < age {
			young[key] = string(o.data)
		}
	}
	return young
}

// checkChains follows the chain of each kept spec along edges that are there.
func (s *scene) checkChains(p *janitor.Plan) {
	names := map[string]*node{}
	for _, n := range s.nodes {
		names[fmt.Sprintf("%s@%s/%.7s", n.Name, n.Version, n.Hash)] = n
	}
	for k := range p.Kept() {
		if len(k.Chain) == 0 || k.Rule == "" || names[k.Chain[len(k.Chain)-1]] != s.byHash[string(k.Hash)] {
			s.t.Errorf("%s is kept by %q, %v", k.Name, k.Rule, k.Chain)
			continue
		}
		for i, name := range k.Chain[1:] {
			if !slices.ContainsFunc(names[k.Chain[i]].Dependencies, func(d dep) bool { return d.Hash == names[name].Hash }) {
				s.t.Errorf("%v: %s does not need %s", k.Chain, k.Chain[i], name)
			}
		}
	}
}

// Somebody pushes while the janitor works: the test of what to skip for all
// specs first, then one upload at a time between the janitor's requests. What
// they push is installable at the end, or somebody says that it is not.
func TestPromisesHoldWhileOthersPush(t *testing.T) {
	lost, told, later := 0, 0, 0
	for seed := range uint64(seeds(t)) {
		s := newScene(t, 1000+seed)
		policy := s.policy()
		policy.Grace = max(policy.Grace, time.Hour)
		roots := rootset.Roots{Locks: s.locks}
		p, err := planned(t, s.m, roots, policy)
		if err != nil {
			continue
		}
		top := s.add(3)
		top.External = nil
		var uploads []upload
		var fresh []*node
		for _, n := range slices.Backward(s.dag(top.Hash)) {
			if !s.present(n) {
				uploads = append(uploads, s.uploads(n)...)
				fresh = append(fresh, n)
			}
		}
		step := func() {
			if len(uploads) > 0 && s.rand.IntN(3) == 0 {
				s.m.set(uploads[0].key, uploads[0].data, now)
				if uploads = uploads[1:]; len(uploads) == 0 && s.rand.IntN(2) == 0 {
					s.updateIndex(now)
				}
			}
		}
		s.m.before = func(what, key string) error {
			if what != "delete" || !strings.HasSuffix(key, "/lease") { // that is after our last look
				step()
			}
			return nil
		}
		before := view(t, s.m.contents())
		j := of(p, s.m)
		_, err = j.Apply(t.Context(), p)
		s.m.before = nil
		again, _ := planned(t, s.m, roots, policy)
		pending := len(uploads)
		after := view(t, s.m.contents())
		for h := range s.needed(policy) {
			if before.installable[h] && !after.installable[h] {
				t.Errorf("seed %d: lost %s (%v)", seed, s.byHash[h].Name, err)
			}
		}
		if pending > 0 {
			continue // what comes after our last look is nobody's to protect
		}
		for h := range s.closure(true, top.Hash) {
			if s.byHash[h].External == nil && !after.installable[h] {
				lost++
				switch {
				case err != nil:
					told++
				case slices.ContainsFunc(again.Notes, func(n string) bool {
					return strings.Contains(n, h[:7]) && strings.Contains(n, "has deleted: push it again")
				}):
					later++ // it came after the last look
				default:
					t.Errorf("seed %d: %s was pushed, and %s is gone without a word", seed, top.Name, s.byHash[h].Name)
				}
				break
			}
		}
		for _, n := range fresh {
			if !after.installable[n.Hash] {
				t.Errorf("seed %d: %s was pushed and is not there", seed, n.Name)
			}
		}
		for key, hashes := range after.indexed {
			for h := range hashes {
				if !after.installable[h] && err == nil {
					t.Errorf("seed %d: %s has a hole: %s", seed, key, s.byHash[h].Name)
				}
			}
		}
	}
	t.Logf("%d pushes came too late: the run told of %d, the next one of %d", lost, told, later)
}

func TestRegression1OnePlanEnds(t *testing.T) {
	for _, n := range []int{0, 1, 1100} { // the last one takes several requests
		w := newWorld(t, 5, 2)
		root := w.add(0)
		root.External = nil
		w.push(root, old)
		for range n {
			x := w.add(0)
			x.External = nil
			w.push(x, old)
		}
		w.updateIndex(old)
		roots := rootset.Roots{Locks: []rootset.Lock{w.lock("env", root)}}
		p := plan(t, w.m, roots, bold)
		if len(list(p.Specs())) != n {
			t.Fatalf("%d go, want %d", len(list(p.Specs())), n)
		}
		apply(t, w.m, p)
		if got := view(t, w.m.contents()).installable; len(got) != 1 {
			t.Errorf("%d specs are left, want 1", len(got))
		}
		if again := plan(t, w.m, roots, bold); !quiet(again) {
			t.Errorf("of %d: a second plan would do %d", n, len(list(again.Deletions())))
		}
	}
}

// chain makes app → lib (link), app → tool (build).
func buildOnly(t *testing.T, layout int) (w *world, app, lib, tool *node) {
	w = newWorld(t, 9, layout)
	lib, tool, app = w.add(0), w.add(0), w.add(0)
	for i, n := range []*node{lib, tool, app} {
		n.External, n.Name = nil, []string{"lib", "tool", "app"}[i]
	}
	edge := func(n *node, types ...string) (d dep) {
		d.Name, d.Hash, d.Parameters.Deptypes, d.Parameters.Virtuals = n.Name, n.Hash, types, []string{}
		return d
	}
	app.Dependencies = []dep{edge(lib, "build", "link"), edge(tool, "build")}
	return w, app, lib, tool
}

func TestRegression2DeadBuildToolDoomsNobody(t *testing.T) {
	for layout := 2; layout <= 3; layout++ {
		w, app, lib, tool := buildOnly(t, layout)
		w.push(lib, now.Add(-10*day))
		w.push(tool, old)
		w.push(app, now.Add(-10*day))
		w.updateIndex(old)
		policy := janitor.Policy{NoRoots: true, MaxAge: 90 * day, MaxFraction: 1}
		apply(t, w.m, plan(t, w.m, rootset.Roots{}, policy))
		got := view(t, w.m.contents()).installable
		if !got[app.Hash] || !got[lib.Hash] || got[tool.Hash] {
			t.Errorf("layout %d: got %v", layout, got)
		}
		w, app, lib, tool = buildOnly(t, layout)
		for _, n := range w.nodes {
			w.push(n, old)
		}
		w.updateIndex(old)
		policy = janitor.Policy{DropBuild: true, MaxFraction: 1, Packages: janitor.Packages{"other": true}}
		apply(t, w.m, plan(t, w.m, rootset.Roots{Locks: []rootset.Lock{w.lock("env", app)}}, policy))
		got = view(t, w.m.contents()).installable
		if !got[app.Hash] || !got[lib.Hash] || got[tool.Hash] {
			t.Errorf("layout %d, a root of a package that no repository has: got %v", layout, got)
		}
	}
}

func TestDependentsOfWhatGoesGo(t *testing.T) {
	w, app, lib, tool := buildOnly(t, 3)
	w.push(lib, old)
	w.push(tool, now.Add(-10*day))
	w.push(app, now.Add(-10*day))
	w.updateIndex(old)
	policy := janitor.Policy{NoRoots: true, MaxAge: 90 * day, MaxFraction: 1}
	p := plan(t, w.m, rootset.Roots{}, policy)
	var got []string
	for g := range p.Specs() {
		got = append(got, g.Name+" "+g.Reason)
	}
	if diff := cmp.Diff([]string{"app dependent", "lib too old"}, got); diff != "" {
		t.Error(diff)
	}
	policy.Grace = 20 * day
	if p = plan(t, w.m, rootset.Roots{}, policy); len(list(p.Specs())) != 0 {
		t.Errorf("what young specs need goes: %v", list(p.Specs()))
	}
	apply(t, w.m, p)
	_ = tool
}
