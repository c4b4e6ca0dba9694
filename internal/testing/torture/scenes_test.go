package torture

import (
	"path/filepath"
	"testing"
	"time"
)

// TestTwoRepositoriesShareABucketForAYear: they prune on alternate nights, their environments
// change every month, and one builds what the other throws away.
func TestTwoRepositoriesShareABucketForAYear(t *testing.T) {
	h := History{Seed: 1, Setting: Setting{Shape: 5, Specs: 30, Layouts: []int{2, 3}, Repos: 2, Page: 1000, Batch: 1000}}
	add := func(s Step) {
		s.ID = len(h.Steps) + 1
		h.Steps = append(h.Steps, s)
	}
	for night := range 52 * 7 / 2 {
		at := time.Duration(night) * 2 * day
		add(Step{At: at + 2*time.Hour, Do: "prune", Repo: night % 2})
		if night%15 != 7 {
			continue
		}
		env := night / 15
		add(Step{At: at + 8*time.Hour, Do: "push", Repo: night % 2, Env: env, Layout: 2 + env%2, Announce: true, Pause: time.Hour, Update: true})
		add(Step{At: at + 12*time.Hour, Do: "lock", Repo: night % 2, Env: env})
		add(Step{At: at + 13*time.Hour, Do: "unlock", Repo: night % 2, Env: env + 5})
	}
	out := h.Run(t, product{}, nil)
	for _, b := range out.Broken {
		t.Error(b)
	}
	if out.Deleted == 0 {
		t.Error("nothing was deleted in a year")
	}
}

// TestScenesThatBrokeAPromise: histories that have failed once, as short as they got.
func TestScenesThatBrokeAPromise(t *testing.T) {
	paths, err := filepath.Glob("testdata/scenes/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("there are no scenes (%v)", err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) { runScene(t, path) })
	}
}
