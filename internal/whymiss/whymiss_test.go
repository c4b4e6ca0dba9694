package whymiss

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/abstract"
	"github.com/openbraininstitute/spacktainers/internal/testing/reallocks"
)

// A planted change is one that somebody made to a spec of a lockfile, or to all of them.
type planted struct {
	kind  Kind
	specs map[buildcache.Hash]bool // that it was made to, by the hashes that they had
}

// perturb changes a lockfile in one way, and gives another hash to what has changed and to all that
// needs it, as Spack does. cached takes what the change needs in the cache.
func perturb(r *rand.Rand, kind Kind, all bool, lock *buildcache.Lockfile, cached *[]*buildcache.Spec) (planted, map[buildcache.Hash]buildcache.Hash) {
	p := planted{kind, map[buildcache.Hash]bool{}}
	var can []*buildcache.Spec
	for _, h := range slices.Sorted(maps.Keys(lock.Specs)) {
		if s := lock.Specs[h]; !s.External && (kind != DependsOn || len(cachedDependencies(lock, s)) > 0) && (kind != Variant || len(booleans(s)) > 0) {
			can = append(can, s)
		}
	}
	if !all {
		can = []*buildcache.Spec{can[r.IntN(len(can))]}
	}
	for _, s := range can {
		p.specs[s.Hash] = true
		switch kind {
		case PackageHash:
			s.PackageHash = strings.Repeat("q", 52) + "===="
		case Version:
			s.Version += ".99"
		case Target:
			s.Target = "zen5"
		case Compiler:
			s.Compiler = "gcc@15.1.0"
		case Flags:
			s.Parameters = maps.Clone(s.Parameters)
			s.Parameters["cflags"] = []any{"-O3"}
		case Variant:
			names := booleans(s)
			name := names[r.IntN(len(names))]
			s.Parameters = maps.Clone(s.Parameters)
			s.Parameters[name] = !s.Parameters[name].(bool)
		case DependsOn: // on another one that is cached, with which it was never built
			edges := cachedDependencies(lock, s)
			at := edges[r.IntN(len(edges))]
			other := *lock.Specs[s.Dependencies[at].Hash]
			other.Version, other.Hash = other.Version+".1", rehash(other.Hash, "other")
			*cached = append(*cached, &other)
			lock.Specs[other.Hash] = &other
			s.Dependencies[at].Hash = other.Hash
		}
	}
	return p, renew(lock, p.specs)
}

func booleans(s *buildcache.Spec) (names []string) {
	for name, v := range s.Parameters {
		if _, ok := v.(bool); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func cachedDependencies(lock *buildcache.Lockfile, s *buildcache.Spec) (at []int) {
	for i, d := range s.Dependencies {
		if !lock.Specs[d.Hash].External {
			at = append(at, i)
		}
	}
	return at
}

func rehash(h buildcache.Hash, why string) buildcache.Hash {
	sum := sha256.Sum256([]byte(string(h) + why))
	return buildcache.Hash(strings.ToLower(base32.StdEncoding.EncodeToString(sum[:20])))
}

// renew gives new hashes to specs and to all that needs them.
func renew(lock *buildcache.Lockfile, changed map[buildcache.Hash]bool) map[buildcache.Hash]buildcache.Hash {
	names := map[buildcache.Hash]buildcache.Hash{}
	var visit func(h buildcache.Hash) bool
	seen := map[buildcache.Hash]bool{}
	visit = func(h buildcache.Hash) bool {
		if !seen[h] {
			seen[h] = true
			new := changed[h]
			for _, d := range lock.Specs[h].Dependencies {
				new = visit(d.Hash) || new
			}
			if new {
				names[h] = rehash(h, "changed")
			}
		}
		_, new := names[h]
		return new
	}
	for h := range lock.Specs {
		visit(h)
	}
	for old, new := range names {
		s := lock.Specs[old]
		delete(lock.Specs, old)
		s.Hash = new
		lock.Specs[new] = s
	}
	for _, s := range lock.Specs {
		for i, d := range s.Dependencies {
			if new, ok := names[d.Hash]; ok {
				s.Dependencies[i].Hash = new
			}
		}
	}
	for i, root := range lock.Roots {
		if new, ok := names[root.Hash]; ok {
			lock.Roots[i].Hash = new
		}
	}
	return names
}

// fullCache is a cache that holds all of the real lockfiles, with these.
func fullCache(t *testing.T) (texts map[string][]byte, cached []*buildcache.Spec) {
	t.Helper()
	texts, err := reallocks.Texts()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		lock := parse(t, texts[name])
		for _, h := range slices.Sorted(maps.Keys(lock.Specs)) {
			cached = append(cached, lock.Specs[h])
		}
	}
	return texts, cached
}

func parse(t *testing.T, text []byte) *buildcache.Lockfile {
	t.Helper()
	lock, err := buildcache.ParseLockfile(text)
	if err != nil {
		t.Fatal(err)
	}
	return lock
}

// Whatever one thing is changed in a real lockfile, it is found, and it is the only cause.
func TestAPlantedCauseIsTheOnlyOne(t *testing.T) {
	texts, full := fullCache(t)
	names := slices.Sorted(maps.Keys(texts))
	kinds := []Kind{PackageHash, Version, Variant, Target, Compiler, Flags, DependsOn}
	for seed := range 105 {
		r := rand.New(rand.NewPCG(uint64(seed), 18))
		name := names[r.IntN(len(names))]
		lock, cached := parse(t, texts[name]), slices.Clone(full)
		kind := kinds[seed%len(kinds)]
		all := (kind == Target || kind == Compiler) && r.IntN(2) == 0
		plant, renamed := perturb(r, kind, all, lock, &cached)
		what := fmt.Sprintf("seed %d: %s of %s, all %v", seed, kind, name, all)

		report, err := Explain(lock, NewIndex(cached))
		if err != nil {
			t.Fatal(err)
		}
		if len(report.Causes) != 1 {
			t.Errorf("%s: got %d causes, want one: %v", what, len(report.Causes), report.Causes)
			continue
		}
		cause := report.Causes[0]
		if cause.Kind != plant.kind || len(cause.Differences) != 1 {
			t.Errorf("%s: got %q with %v", what, cause.Kind, cause.Differences)
		}
		if len(cause.Specs) != len(plant.specs) {
			t.Errorf("%s: got %d specs that differ, want %d", what, len(cause.Specs), len(plant.specs))
		}
		for _, n := range cause.Nearest {
			if !plant.specs[n.Hash] {
				t.Errorf("%s: %s is no spec that was changed", what, n.Spec)
			}
		}
		if cause.Misses != len(renamed) || cause.Alone != len(renamed) || len(report.Missing) != len(renamed) {
			t.Errorf("%s: got %d of %d missing, want %d: what was changed, and what needs it", what, cause.Misses, len(report.Missing), len(renamed))
		}
		if all {
			continue
		}
		undone(t, what, lock, cached, cause)
	}
}

// undone supposes what was there before the change: then nothing is built.
func undone(t *testing.T, what string, lock *buildcache.Lockfile, cached []*buildcache.Spec, cause Cause) {
	t.Helper()
	name, _, _ := strings.Cut(cause.Specs[0], "@")
	several := 0
	for _, s := range lock.Specs {
		if s.Name == name {
			several++
		}
	}
	if several > 1 {
		return // of which one would become the other
	}
	wanted, err := abstract.Parse(name+"/"+string(cause.Nearest[0].Hash), false)
	if err != nil {
		t.Fatal(err)
	}
	supposed, err := Suppose(lock, NewIndex(cached), wanted)
	if err != nil {
		t.Fatal(err)
	}
	if len(supposed.Built) != 0 || len(supposed.Saved) != cause.Misses {
		t.Errorf("%s: with %s before it, %v would be built and %d would not, want none and %d", what, wanted.Name, supposed.Built, len(supposed.Saved), cause.Misses)
	}
}
