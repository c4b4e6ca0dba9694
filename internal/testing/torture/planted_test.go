package torture

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// idle is a janitor that does nothing, not even announce.
type idle struct{}

func (idle) Prune(context.Context, Call) error              { return nil }
func (idle) DryRun(context.Context, Call) error             { return nil }
func (idle) Plan(context.Context, Call) ([]byte, error)     { return nil, nil }
func (idle) ApplyPlan(context.Context, Call, []byte) error  { return nil }
func (idle) Purge(context.Context, Call, string) error      { return nil }
func (idle) Spare(context.Context, Call, string) error      { return nil }
func (idle) Announce(context.Context, Call, []string) error { return nil }
func (idle) PublishRoots(context.Context, Call) error       { return nil }
func (idle) Forget(context.Context, Call, string) error     { return nil }
func (idle) Reindex(context.Context, Call) error            { return nil }

// planted is a janitor whose prune is a test's.
type planted struct {
	idle
	prune func(ctx context.Context, a *Actor, n int) error
	n     *int
}

func (p planted) Prune(ctx context.Context, c Call) error {
	*p.n++
	return p.prune(ctx, c.Actor, *p.n)
}

func plant(prune func(ctx context.Context, a *Actor, n int) error) Janitor {
	return planted{prune: prune, n: new(int)}
}

func promises(broken []Broken) (all []string) {
	for _, b := range broken {
		all = append(all, b.Promise)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// TestTheWorldAloneBreaksNoPromise: without a janitor nothing is lost, and what is garbage stays.
func TestTheWorldAloneBreaksNoPromise(t *testing.T) {
	garbage := 0
	for seed := range uint64(30) {
		out := Draw(seed).Run(t, idle{}, nil)
		for _, b := range out.Broken {
			if b.Promise != "garbage" {
				t.Errorf("seed %d: %v", seed, b)
			}
		}
		garbage += btoi(len(out.Broken) > 0)
	}
	if garbage < 15 {
		t.Errorf("only %d of 30 histories have garbage", garbage)
	}
}

// TestAHistoryIsTheSameEachTime: a seed would be worth nothing else.
func TestAHistoryIsTheSameEachTime(t *testing.T) {
	for seed := range uint64(5) {
		var first, second strings.Builder
		Draw(seed).Run(t, idle{}, &first)
		Draw(seed).Run(t, idle{}, &second)
		if first.String() != second.String() {
			t.Errorf("seed %d: two runs differ", seed)
		}
	}
}

// TestTheOracleSeesWhatIsPlanted has janitors each do one wrong thing, in an otherwise quiet world.
func TestTheOracleSeesWhatIsPlanted(t *testing.T) {
	quiet := func(layout int) History {
		return History{Seed: 3, Setting: Setting{Shape: 1, Specs: 12, Layouts: []int{layout}, Repos: 1, Page: 1000, Batch: 1000}}
	}
	// deleteFirst deletes the first object with this ending, in the run of this number.
	deleteFirst := func(ending string, run int, look bool) func(context.Context, *Actor, int) error {
		return func(ctx context.Context, a *Actor, n int) error {
			keys, err := a.list(ctx, "", ending)
			if n != run || err != nil || len(keys) == 0 {
				return err
			}
			if !look {
				time.Sleep(8 * time.Minute)
			}
			return a.Delete(ctx, keys[len(keys)-1:])
		}
	}
	for name, c := range map[string]struct {
		layout int
		prune  func(ctx context.Context, a *Actor, n int) error
		want   string
	}{
		"deletes in its first run":   {3, deleteFirst(".spec.manifest.json", 1, true), "first run"},
		"deletes what did not wait":  {3, deleteFirst(".spec.manifest.json", 1, true), "wait"},
		"deletes what was looked at": {3, deleteFirst(".spec.manifest.json", 4, false), "old look"},
		"deletes what is named":      {2, deleteFirst(".spec.json", 4, true), "index"},
		"deletes a tarball":          {2, deleteFirst(".spack", 4, true), "hole"},
		"deletes a key":              {3, deleteFirst("keys.manifest.json", 4, true), "foreign"},
		"deletes a file":             {3, deleteFirst("README.txt", 4, true), "foreign"},
		"deletes a live blob": {3, func(ctx context.Context, a *Actor, n int) error {
			keys, err := a.list(ctx, "blobs/", "")
			return errors.Join(err, a.Delete(ctx, keys))
		}, "hole"},
		"deletes roots": {3, func(ctx context.Context, a *Actor, n int) error {
			for hash := range a.Run.Roots {
				if keys, _ := a.list(ctx, "v3/manifests/spec", hash+".spec.manifest.json"); n == 5 && len(keys) > 0 {
					return a.Delete(ctx, keys)
				}
			}
			return nil
		}, "root"},
		"empties the index": {2, func(ctx context.Context, a *Actor, n int) error {
			return a.write(ctx, indexV2, index(nil, 7))
		}, "index"},
		"garbles the index": {2, func(ctx context.Context, a *Actor, n int) error {
			return a.write(ctx, indexV2, []byte(`{"database":{"ver`))
		}, "index"},
		"forgets the checksum": {2, func(ctx context.Context, a *Actor, n int) error {
			return a.write(ctx, indexV2Hash, []byte("0"))
		}, "index"},
		"settles for a minute": {3, func(ctx context.Context, a *Actor, n int) error {
			if n != 4 {
				return nil
			}
			there, err := a.list(ctx, "v3/manifests/spec", "")
			if err := errors.Join(err, writeIndex(ctx, a, 3, "", a.w.Graph.Specs[2:3])); err != nil {
				return err
			}
			time.Sleep(time.Minute)
			return a.Delete(ctx, there[len(there)-1:])
		}, "settle"},
		"cannot": {3, func(context.Context, *Actor, int) error { return errDenied }, "converge"},
	} {
		t.Run(name, func(t *testing.T) {
			out := quiet(c.layout).Run(t, plant(c.prune), nil)
			if !slices.Contains(promises(out.Broken), c.want) {
				t.Errorf("got %v, want %s", out.Broken, c.want)
			}
		})
	}
}

// TestABrakeThatDoesNotHoldIsSeen in the run that deletes.
func TestABrakeThatDoesNotHoldIsSeen(t *testing.T) {
	h := History{Seed: 3, Setting: Setting{Shape: 1, Specs: 12, Layouts: []int{3}, Repos: 1, Page: 1000, Batch: 1000, Rules: Rules{Brake: 0.1}},
		Steps: []Step{{ID: 1, Do: "prune"}}}
	out := h.Run(t, plant(func(ctx context.Context, a *Actor, _ int) error {
		keys, err := a.list(ctx, "v3/manifests/spec", "")
		return errors.Join(err, a.Delete(ctx, keys))
	}), nil)
	if !slices.Contains(promises(out.Broken), "brake") {
		t.Errorf("got %v", out.Broken)
	}
}

// TestADryRunThatWritesIsSeen also for our own prefix.
func TestADryRunThatWritesIsSeen(t *testing.T) {
	h := History{Seed: 3, Setting: Setting{Shape: 1, Specs: 12, Layouts: []int{2}, Repos: 1, Page: 1000, Batch: 1000}, Steps: []Step{{ID: 1, Do: "dry"}}}
	out := h.Run(t, dryWriter{}, nil)
	if !slices.Contains(promises(out.Broken), "dry run") {
		t.Errorf("got %v", out.Broken)
	}
}

type dryWriter struct{ idle }

func (dryWriter) DryRun(ctx context.Context, c Call) error {
	return c.Actor.write(ctx, ownPrefix+"janitor/lease", nil)
}

// TestShrinkKeepsWhatMatters on a janitor that deletes when something was purged before.
func TestShrinkKeepsWhatMatters(t *testing.T) {
	h := Draw(11)
	h.Steps = append(h.Steps, Step{ID: 1000, At: 3 * week, Do: "dry"})
	fails := func(h History) []Broken { return h.Run(t, dryWriter{}, nil).Broken }
	small := Shrink(h, "dry run", fails)
	if len(small.Steps) != 1 || small.Steps[0].Do != "dry" {
		t.Errorf("got %v", small)
	}
}
