package pipeline

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/inspect"
	"github.com/openbraininstitute/spacktainers/internal/testing/reallocks"
	"github.com/openbraininstitute/spacktainers/internal/testing/size"
)

// hash returns the hash of a test's package: letters that a hash may have.
func hash(n int) buildcache.Hash {
	text := strings.NewReplacer("0", "q", "1", "r", "8", "s", "9", "t").Replace(fmt.Sprintf("%d", n))
	return buildcache.Hash(strings.Repeat("a", 32-len(text)) + text)
}

// world makes the lockfiles of containers that take packages from one pool, each package depending
// on earlier ones.
func world(r *rand.Rand, packages, containers int) []Container {
	pool := make([]*buildcache.Spec, packages)
	byHash := map[buildcache.Hash]*buildcache.Spec{}
	types := []buildcache.DepTypes{buildcache.Build, buildcache.Link, buildcache.Run, buildcache.Runtime, buildcache.Build | buildcache.Link, buildcache.Test}
	for i := range pool {
		s := &buildcache.Spec{Hash: hash(i), Name: fmt.Sprintf("p%d", i), Version: "1", External: r.IntN(20) == 0}
		for range r.IntN(5) {
			if i > 0 {
				d := r.IntN(i)
				s.Dependencies = append(s.Dependencies, buildcache.Dependency{Name: pool[d].Name, Hash: pool[d].Hash, Types: types[r.IntN(len(types))]})
			}
		}
		pool[i], byHash[s.Hash] = s, s
	}
	var all []Container
	for i := range containers {
		lock := &buildcache.Lockfile{Specs: map[buildcache.Hash]*buildcache.Spec{}}
		var add func(s *buildcache.Spec)
		add = func(s *buildcache.Spec) {
			lock.Specs[s.Hash] = s
			for _, d := range s.Dependencies {
				if lock.Specs[d.Hash] == nil {
					add(byHash[d.Hash])
				}
			}
		}
		c := Container{Name: fmt.Sprintf("c%d", i/2), Platform: []string{"linux/amd64", "linux/arm64"}[i%2], Version: "1", Lock: lock, UpToDate: r.IntN(5) == 0}
		for range 1 + r.IntN(3) {
			root := pool[r.IntN(packages)]
			add(root)
			c.Roots = append(c.Roots, root.Hash)
		}
		all = append(all, c)
	}
	return all
}

// missingFor is the plainest way to tell what a container needs that no mirror has.
func missingFor(c Container, has func(buildcache.Hash) bool) map[buildcache.Hash]bool {
	needed := map[buildcache.Hash]bool{}
	todo := slices.Clone(c.Roots)
	for len(todo) > 0 {
		s := c.Lock.Specs[todo[0]]
		todo = todo[1:]
		if needed[s.Hash] || s.External {
			continue
		}
		needed[s.Hash] = true
		for _, d := range s.Dependencies {
			if d.Types&buildcache.Runtime != 0 || !has(s.Hash) && d.Types&buildcache.Build != 0 {
				todo = append(todo, d.Hash)
			}
		}
	}
	for h := range needed {
		if has(h) {
			delete(needed, h)
		}
	}
	return needed
}

func TestEachMissingPackageIsBuiltOnceAndNeverBeforeWhatItNeeds(t *testing.T) {
	for seed := range uint64(size.Count(200, 2000, 20000)) {
		r := rand.New(rand.NewPCG(seed, 1))
		containers := world(r, 5+r.IntN(60), 1+r.IntN(12))
		cached := map[buildcache.Hash]bool{}
		for i := range 65 {
			cached[hash(i)] = r.IntN(3) > 0
		}
		has := func(h buildcache.Hash) bool { return cached[h] }
		g, err := New(Request{Containers: containers, Publish: true, SIF: true,
			Bases:  []Base{{Name: "builder", Platform: "linux/amd64", For: []Kind{Package, Image}}},
			Cached: map[string]func(buildcache.Hash) bool{"linux/amd64": has, "linux/arm64": has}})
		if err != nil {
			t.Fatal(err)
		}
		checkGraph(t, g)
		for i, c := range containers { // one index for all platforms
			other := slices.ContainsFunc(containers, func(o Container) bool { return o.Name == c.Name && !o.UpToDate })
			containers[i].UpToDate = !other
		}
		for _, platform := range []string{"linux/amd64", "linux/arm64"} {
			want := map[string][]string{} // containers by ID
			for _, c := range containers {
				if c.Platform == platform && !c.UpToDate {
					for h := range missingFor(c, has) {
						want[packageID(platform, h)] = append(want[packageID(platform, h)], c.Name)
					}
				}
			}
			got := g.Of(Package, platform)
			if len(got) != len(want) {
				t.Fatalf("seed %d: %d packages for %s, want %d", seed, len(got), platform, len(want))
			}
			for _, s := range got {
				names := want[s.ID]
				slices.Sort(names)
				if !slices.Equal(s.Containers, slices.Compact(names)) {
					t.Fatalf("seed %d: %s is for %v, want %v", seed, s.ID, s.Containers, names)
				}
			}
		}
		for _, c := range containers {
			s, planned := g.Step(stepID(Image, c.Platform, c.Name))
			if planned == c.UpToDate {
				t.Fatalf("seed %d: %s for %s: planned is %v", seed, c.Name, c.Platform, planned)
			}
			before := ancestors(g, s)
			for h := range missingFor(c, has) {
				if planned && !before[packageID(c.Platform, h)] {
					t.Fatalf("seed %d: %s does not wait for %s", seed, s.ID, h)
				}
			}
		}
	}
}

// checkGraph checks what holds for every graph: each step once, and behind what it needs.
func checkGraph(t *testing.T, g *Graph) {
	t.Helper()
	place := map[string]int{}
	for i, s := range g.Steps {
		if _, twice := place[s.ID]; twice {
			t.Fatalf("%s is there twice", s.ID)
		}
		for _, need := range s.Needs {
			if _, before := place[need]; !before {
				t.Fatalf("%s comes before %s, which it needs", s.ID, need)
			}
		}
		place[s.ID] = i
	}
	var sum float64
	for i, id := range g.Critical {
		s, _ := g.Step(id)
		sum += s.Seconds
		if i > 0 && !slices.Contains(s.Needs, g.Critical[i-1]) {
			t.Fatalf("%s follows %s on the critical path, and does not need it", id, g.Critical[i-1])
		}
	}
	if sum != g.Seconds || g.Seconds > g.Work {
		t.Fatalf("the critical path takes %g s, the steps on it %g, all of them %g", g.Seconds, sum, g.Work)
	}
}

func ancestors(g *Graph, s Step) map[string]bool {
	found := map[string]bool{}
	todo := slices.Clone(s.Needs)
	for len(todo) > 0 {
		id := todo[0]
		todo = todo[1:]
		if !found[id] {
			found[id] = true
			need, _ := g.Step(id)
			todo = append(todo, need.Needs...)
		}
	}
	return found
}

// The lockfiles of the shipped definitions: what several containers need is built once.
func TestRealLockfilesShareWhatTheyHaveInCommon(t *testing.T) {
	locks, err := reallocks.Read()
	if err != nil {
		t.Fatal(err)
	}
	var containers []Container
	wants := map[buildcache.Hash]int{}
	for name, lock := range locks {
		c := Container{Name: name, Platform: "linux/amd64", Lock: lock}
		for _, root := range lock.Roots {
			c.Roots = append(c.Roots, root.Hash)
		}
		for h, s := range lock.Specs {
			if !s.External {
				wants[h]++
			}
		}
		containers = append(containers, c)
	}
	shared := 0
	for _, n := range wants {
		if n > 1 {
			shared++
		}
	}
	g, err := New(Request{Containers: containers})
	if err != nil {
		t.Fatal(err)
	}
	checkGraph(t, g)
	got := g.Of(Package, "linux/amd64")
	gotShared := len(slices.DeleteFunc(slices.Clone(got), func(s Step) bool { return !s.Shared() }))
	if len(got) != len(wants) || gotShared != shared || len(got) != 622 || shared != 188 {
		t.Errorf("%d packages, %d of them for several containers; the lockfiles have %d and %d", len(got), gotShared, len(wants), shared)
	}
	jobs := Pack(g, "linux/amd64", 30*time.Minute)
	packed := 0
	for i, j := range jobs {
		packed += len(j.Packages)
		if j.Seconds > 1800 && len(j.Packages) > 1 {
			t.Errorf("%s takes %g s, longer than packages may share a job", j.Name, j.Seconds)
		}
		for _, n := range j.Needs {
			if n >= i {
				t.Errorf("%s needs %s, which is not before it", j.Name, jobs[n].Name)
			}
		}
	}
	if packed != len(got) || len(jobs) > len(got)/3 {
		t.Errorf("%d packages in %d jobs, want %d in a third as many at most", packed, len(jobs), len(got))
	}
}

func TestTheSameRequestGivesTheSameGraph(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	request := Request{Containers: world(r, 50, 10), Publish: true, SIF: true}
	var first []byte
	for range 5 {
		g, err := New(request)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(g)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = text
		}
		if string(text) != string(first) {
			t.Fatal("the graph differs from run to run")
		}
		r.Shuffle(len(request.Containers), func(i, j int) {
			request.Containers[i], request.Containers[j] = request.Containers[j], request.Containers[i]
		})
	}
}

func TestOneHashForTwoPackagesIsRefused(t *testing.T) {
	lock := func(version string) *buildcache.Lockfile {
		return &buildcache.Lockfile{Specs: map[buildcache.Hash]*buildcache.Spec{hash(1): {Hash: hash(1), Name: "zlib", Version: version}}}
	}
	roots := []buildcache.Hash{hash(1)}
	_, err := New(Request{Containers: []Container{
		{Name: "a", Platform: "linux/amd64", Lock: lock("1.3"), Roots: roots},
		{Name: "b", Platform: "linux/amd64", Lock: lock("1.4"), Roots: roots},
	}})
	if err == nil || !strings.Contains(err.Error(), "b for linux/amd64: its lockfile has zlib@1.4/") {
		t.Errorf("got %v", err)
	}
}

func TestABuildSpecThatLeadsBackEnds(t *testing.T) {
	lock := &buildcache.Lockfile{Specs: map[buildcache.Hash]*buildcache.Spec{
		hash(1): {Hash: hash(1), Name: "a", Version: "1", BuildSpec: hash(2)},
		hash(2): {Hash: hash(2), Name: "a", Version: "1", Dependencies: []buildcache.Dependency{{Name: "a", Hash: hash(1), Types: buildcache.Link}}},
	}}
	g, err := New(Request{Containers: []Container{{Name: "c", Platform: "linux/amd64", Lock: lock, Roots: []buildcache.Hash{hash(1)}}}})
	if err != nil {
		t.Fatal(err)
	}
	checkGraph(t, g)
	if got := g.Of(Package, ""); len(got) != 1 || got[0].Hash != hash(2) {
		t.Errorf("want the build spec alone, got %v", got)
	}
}

func TestWithoutALockfileTheGraphBeginsWithOne(t *testing.T) {
	g, err := New(Request{Containers: []Container{{Name: "c", Platform: "linux/amd64"}}, Publish: true,
		Bases: []Base{{Name: "builder", Platform: "linux/amd64", For: []Kind{Concretization, Package, Image}}, {Name: "runtime", Platform: "linux/amd64", For: []Kind{Image}, UpToDate: true}}})
	if err != nil {
		t.Fatal(err)
	}
	checkGraph(t, g)
	var ids []string
	for _, s := range g.Steps {
		ids = append(ids, s.ID)
	}
	if want := []string{"base:linux/amd64:builder", "lock:linux/amd64:c", "container:linux/amd64:c", "publish:c"}; !slices.Equal(ids, want) {
		t.Errorf("got %v, want %v", ids, want)
	}
}

func TestNothingIsToBeDoneForWhatIsUpToDate(t *testing.T) {
	lock := &buildcache.Lockfile{Specs: map[buildcache.Hash]*buildcache.Spec{hash(1): {Hash: hash(1), Name: "zlib", Version: "1"}}}
	g, err := New(Request{Containers: []Container{{Name: "c", Platform: "linux/amd64", Lock: lock, Roots: []buildcache.Hash{hash(1)}, UpToDate: true}},
		Publish: true, SIF: true, Bases: []Base{{Name: "builder", Platform: "linux/amd64", For: []Kind{Package, Image}}}})
	if err != nil {
		t.Fatal(err)
	}
	if !g.Empty() || g.UpToDate != 1 || g.Unneeded != 1 {
		t.Errorf("want nothing to do, one container up to date and its package unneeded; got %+v", g)
	}
}

func TestMarkdownKeepsNamesAsText(t *testing.T) {
	g, err := New(Request{Containers: []Container{{Name: "c", Platform: "linux/amd64", Version: "1",
		Lock: &buildcache.Lockfile{Specs: map[buildcache.Hash]*buildcache.Spec{hash(1): {Hash: hash(1), Name: "zlib", Version: "1|<b>@all"}}}, Roots: []buildcache.Hash{hash(1)},
		Why: []string{"file x\n# heading ![](http://e) changed"}}}})
	if err != nil {
		t.Fatal(err)
	}
	text := g.Markdown()
	for _, bad := range []string{"<b>", "@all", "\n# heading", "![]"} {
		if strings.Contains(text, bad) {
			t.Errorf("%q is in\n%s", bad, text)
		}
	}
}

// GitHub shows nothing of a summary that is too long, and GitLab refuses a note that is.
func TestMarkdownStaysBelowItsLimit(t *testing.T) {
	var containers []Container
	for i := range 300 {
		d := &inspect.Diff{From: "registry.example.org/c:latest", OldSize: 1 << 30, Same: 3}
		for n := range 400 {
			d.Changes = append(d.Changes, inspect.Change{Package: fmt.Sprintf("package-%d|`x`", n), Kind: inspect.Version, Old: strings.Repeat("1", 20), New: "<b>"})
		}
		containers = append(containers, Container{Name: fmt.Sprintf("c%d", i), Platform: "linux/amd64", Why: []string{"there is none"}, Diff: d,
			Lock: &buildcache.Lockfile{}})
	}
	g, err := New(Request{Containers: containers})
	if err != nil {
		t.Fatal(err)
	}
	for _, most := range []int{MaxMarkdown, 100_000, 5000, 10} {
		text := g.markdown(most)
		if over := len(text) - most; over > 1000 {
			t.Errorf("%d bytes more than %d", over, most)
		}
		if a, b := strings.Count(text, "<details>"), strings.Count(text, "</details>"); a != b {
			t.Errorf("of %d bytes: %d folds are opened, %d closed", most, a, b)
		}
		if !strings.Contains(text, "finds no room here") {
			t.Errorf("of %d bytes: nothing says what is left out", most)
		}
	}
	text := g.Markdown()
	if !strings.Contains(text, "\n\nand 200 more\n") || !strings.Contains(text, "| `package-0\\| x ` | version | `11111111111111111111` | `<b>` |\n") {
		t.Errorf("%.3000s", text[strings.Index(text, "<details>"):])
	}
}

func TestWithoutAPlaceForPackagesContainersAreBuiltWithThem(t *testing.T) {
	containers := world(rand.New(rand.NewPCG(3, 3)), 60, 8)
	g, err := New(Request{Containers: containers, Bases: []Base{{Name: "builder", Platform: "linux/amd64", For: []Kind{Package}}, {Name: "runtime", Platform: "linux/amd64", For: []Kind{Image}}}})
	if err != nil {
		t.Fatal(err)
	}
	without, err := g.WithoutPackages("linux/amd64")
	if err != nil {
		t.Fatal(err)
	}
	checkGraph(t, without)
	if n := len(without.Of(Package, "linux/amd64")) + len(without.Of(Index, "linux/amd64")); n > 0 || len(without.Of(Package, "linux/arm64")) != len(g.Of(Package, "linux/arm64")) {
		t.Errorf("%d steps of packages are left, of those that stay there are %d", n, len(without.Of(Package, "linux/arm64")))
	}
	for _, s := range g.Of(Image, "linux/amd64") {
		before := 0.0
		base := false
		for id := range ancestors(g, s) {
			need, _ := g.Step(id)
			base = base || need.Name == "builder"
			if need.Kind == Package {
				before += need.Seconds
			}
		}
		got, _ := without.Step(s.ID)
		if got.Seconds != s.Seconds+before || base && !slices.Contains(got.Needs, "base:linux/amd64:builder") {
			t.Errorf("%s takes %g s and needs %v, want %g s and what its packages needed", s.ID, got.Seconds, got.Needs, s.Seconds+before)
		}
	}
}
