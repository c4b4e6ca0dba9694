package whymiss

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/file"
)

func sourceOf(name string, lock *buildcache.Lockfile) Source {
	return Source{name, func() (*buildcache.Lockfile, error) { return lock, nil }}
}

func look(t *testing.T, sources []Source, cached *Index, stores []buildcache.Store, platforms ...string) Overview {
	t.Helper()
	o, err := Look(t.Context(), sources, platforms, cached, stores)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// An overview says of each container what Explain says of it.
func TestAnOverviewHasThePlantedCauses(t *testing.T) {
	texts, cached := fullCache(t)
	var sources []Source
	var want []string
	for i, name := range slices.Sorted(maps.Keys(texts)) {
		lock := parse(t, texts[name])
		kinds := []Kind{"", PackageHash, Version, Flags}
		if kind := kinds[i%len(kinds)]; kind != "" {
			perturb(rand.New(rand.NewPCG(uint64(i), 1)), kind, false, lock, &cached)
			r, err := Explain(lock, NewIndex(cached))
			if err != nil || len(r.Causes) != 1 {
				t.Fatal(r.Causes, err)
			}
			want = append(want, fmt.Sprintf("%s %d %d %s", name, len(r.Missing), r.Cached, r.Causes[0]))
		}
		sources = append(sources, sourceOf(name, lock))
	}
	o := look(t, sources, NewIndex(cached), nil)
	var got []string
	for i, b := range o.Built {
		if i > 0 && b.Missing > o.Built[i-1].Missing {
			t.Errorf("%v, which misses %d, comes behind %d", b.Names, b.Missing, o.Built[i-1].Missing)
		}
		got = append(got, fmt.Sprintf("%s %d %d %s", b.Names[0], b.Missing, b.Cached, b.Causes[0].Text))
		if s := b.Causes[0].Specs[0]; len(b.Causes) != 1 || s[1] == "" || !strings.Contains(b.Causes[0].Text, "nearest is "+s[1]) {
			t.Errorf("%v: got %+v", b.Names, b.Causes)
		}
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if o.Whole != len(sources)-len(want) || o.More != 0 || o.Elsewhere != 0 {
		t.Errorf("got %d whole, %d more, %d elsewhere", o.Whole, o.More, o.Elsewhere)
	}
}

func TestAnOverviewOfWhatIsCachedIsEmpty(t *testing.T) {
	dir := filepath.Join(caches, "v3-signed", "cache")
	env := func(name string) Source { return sourceOf(name, lockOf(t, "v3-signed", name)) }
	o := look(t, []Source{env("env-a"), env("env-b"), env("env-hello")}, open(t, dir), []buildcache.Store{file.New(dir)}, "linux/amd64")
	if len(o.Built) > 0 || o.Whole != 3 || o.Elsewhere != 0 {
		t.Errorf("got %+v", o)
	}
	if o = look(t, []Source{env("env-a")}, open(t, dir), nil, "linux/arm64"); len(o.Built) > 0 || o.Whole != 0 || o.Elsewhere != 1 {
		t.Errorf("for another platform: got %+v", o)
	}
}

// Tags of one image, and a definition that it was built from, have one lockfile.
func TestContainersOfTheSameRootsAreOne(t *testing.T) {
	dir := filepath.Join(caches, "v3-signed", "cache")
	lock := lockOf(t, "v3-signed", "env-a")
	for h, s := range lock.Specs {
		if s.Name == "qs-hash" {
			s.PackageHash = "another"
			renew(lock, map[buildcache.Hash]bool{h: true})
			break
		}
	}
	var sources []Source
	for i := range mostNames + 2 {
		sources = append(sources, sourceOf(fmt.Sprint("tag ", i), lock))
	}
	o := look(t, sources, open(t, dir), []buildcache.Store{file.New(dir)})
	if len(o.Built) != 1 || len(o.Built[0].Names) != mostNames || o.Built[0].More != 2 || len(o.Built[0].Causes) != 1 {
		t.Fatalf("got %+v", o)
	}
	if text := o.Built[0].Causes[0].Text; !strings.Contains(text, "qs-hash's recipe changed") || !strings.Contains(text, " of 20") {
		t.Errorf("got %q, without the recipe or the date", text)
	}
}

// However much is missing, an overview is as long as a page can be.
func TestAnOverviewIsBounded(t *testing.T) {
	var sources []Source
	for i := range 3 * mostBuilt {
		lock := &buildcache.Lockfile{Specs: map[buildcache.Hash]*buildcache.Spec{}}
		for k := range 3 * mostCauses {
			h := rehash(buildcache.Hash(fmt.Sprint(i, " ", k)), "new")
			lock.Specs[h] = &buildcache.Spec{Hash: h, Name: fmt.Sprint("p", k), Version: strings.Repeat("é", 10000), Target: "x86_64", PackageHash: string(h)}
			lock.Roots = append(lock.Roots, buildcache.Root{Hash: h})
		}
		sources = append(sources, sourceOf(fmt.Sprint("env", i), lock))
	}
	var cached []*buildcache.Spec
	for k := range 3 * mostCauses {
		h := rehash(buildcache.Hash(fmt.Sprint(k)), "old")
		cached = append(cached, &buildcache.Spec{Hash: h, Name: fmt.Sprint("p", k), Version: "1", Target: "x86_64"})
	}
	o := look(t, sources, NewIndex(cached), nil)
	if len(o.Built) != mostBuilt || o.More != 2*mostBuilt {
		t.Errorf("got %d containers and %d more", len(o.Built), o.More)
	}
	for _, b := range o.Built {
		if len(b.Causes) != mostCauses || b.Others != 2*mostCauses {
			t.Fatalf("got %d causes and %d more", len(b.Causes), b.Others)
		}
		for _, c := range b.Causes {
			for _, text := range []string{c.Text, c.Specs[0][0], c.Differences[0].Wanted} {
				if len(text) > mostBytes+len("…") || !strings.HasSuffix(text, "…") || strings.ContainsRune(text, '\uFFFD') {
					t.Fatalf("got %d bytes: %q", len(text), text)
				}
			}
		}
	}
}
