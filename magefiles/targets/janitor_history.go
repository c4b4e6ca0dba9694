package targets

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/history"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// history reads or makes up what policies are tried on.
func (s *simulation) history(ctx context.Context, from string, mirror, lock *string, how history.Generated) (history.History, error) {
	var none history.History
	cost := history.Cost(history.GuessedCost)
	var m *mirrorStore
	var held *heldSpecs
	if mirror != nil {
		var err error
		if m, err = s.openMirror(ctx, *mirror); err != nil {
			return none, err
		}
		if held, err = s.held(ctx, m); err != nil {
			return none, fmt.Errorf("%s: %w", *mirror, err)
		}
		cost = held.cost
	}
	if lock != nil && from != "generated" {
		return none, wrongCall("--lock is for --history=generated")
	}
	switch from {
	case "git":
		return s.gitHistory(ctx, cost)
	case "generated":
		locks, err := s.presentLocks(lock)
		if err != nil {
			return none, err
		}
		return history.Generate(locks, cost, how), nil
	case "uploads":
		if m == nil {
			return none, wrongCall("--history=uploads asks a build cache when specs came into it: give --mirror=URL")
		}
		graphs, err := index.ReadMirror(ctx, m.Store)
		if err != nil {
			return none, err
		}
		return history.FromUploads(specsOf(graphs), held.uploaded, cost), nil
	}
	return none, unknown("history", from, []string{"git", "uploads", "generated"})
}

// gitHistory reads the lockfiles that this repository has had.
func (s *simulation) gitHistory(ctx context.Context, cost history.Cost) (history.History, error) {
	ask := func(args ...string) (string, error) {
		return command.Output(ctx, command.Exec(nil), command.Cmd{Args: append([]string{"git", "-C", root}, args...)})
	}
	text, err := ask(history.GitLog...)
	if err != nil {
		return history.History{}, fmt.Errorf("%w; without a git repository make a history up with --history=generated", err)
	}
	changes, err := history.ParseGitLog(text)
	if err != nil {
		return history.History{}, err
	}
	h, broken, err := history.FromLocks(changes, cost, func(blob string) ([]byte, error) {
		text, err := ask("cat-file", "blob", blob)
		return []byte(text), err
	})
	for _, b := range broken {
		s.Log.Warn("passed over: " + b)
	}
	return h, err
}

// presentLocks are the lockfiles that are given, or those beside the definitions, by their names.
func (s *simulation) presentLocks(lock *string) (map[string]*buildcache.Lockfile, error) {
	var paths []string
	for _, name := range list(or(lock, "")) {
		found, err := lockPaths(name)
		if err != nil {
			return nil, err
		}
		paths = append(paths, found...)
	}
	if lock == nil {
		defs, err := s.environments(nil)
		if err != nil {
			return nil, err
		}
		for _, d := range defs {
			if d.LockPath != "" {
				paths = append(paths, filepath.Join(d.Root, d.LockPath))
			}
		}
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no definition has a lockfile to begin with: give --lock, or write some with mage containers:lock NAME --save")
	}
	locks := map[string]*buildcache.Lockfile{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("lockfile: %w", err)
		}
		if locks[path], err = buildcache.ParseLockfile(text); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return locks, nil
}

// heldSpecs are those of a mirror, and what they cost.
type heldSpecs struct {
	known    map[buildcache.Hash]*janitor.Priced
	size     map[buildcache.Hash]int64 // bytes of all objects
	uploaded map[buildcache.Hash]time.Time
	byName   map[string]*janitor.Priced // some spec of each package
}

func (s *simulation) held(ctx context.Context, m *mirrorStore) (*heldSpecs, error) {
	scan, err := scan.New(ctx, m.Store, scan.Options{Known: m.known})
	if err != nil {
		return nil, err
	}
	h := &heldSpecs{known: map[buildcache.Hash]*janitor.Priced{}, size: map[buildcache.Hash]int64{}, uploaded: map[buildcache.Hash]time.Time{}, byName: map[string]*janitor.Priced{}}
	all := janitor.AllPriced(scan)
	if err := s.price(ctx, m, all); err != nil {
		return nil, err
	}
	for _, p := range all {
		h.known[p.Spec.Hash] = p
		if old := h.byName[p.Spec.Name]; old == nil || old.Estimated && !p.Estimated {
			h.byName[p.Spec.Name] = p
		}
	}
	for spec := range scan.Specs() {
		for _, o := range spec.Objects {
			h.size[spec.Hash] += o.Size
			if o.ModTime.After(h.uploaded[spec.Hash]) {
				h.uploaded[spec.Hash] = o.ModTime
			}
		}
	}
	return h, nil
}

// cost is that of the spec, or else of another one of the package, or else a guess.
func (h *heldSpecs) cost(s *buildcache.Spec) (size int64, seconds float64, estimated bool) {
	if p := h.known[s.Hash]; p != nil {
		return h.size[s.Hash], p.Seconds, p.Estimated
	}
	if p := h.byName[s.Name]; p != nil {
		return h.size[p.Spec.Hash], p.Seconds, true
	}
	return history.GuessedCost(s)
}

// specsOf are the specs that indexes have, with what they need.
func specsOf(graphs index.Mirror) map[buildcache.Hash]*buildcache.Spec {
	specs := map[buildcache.Hash]*buildcache.Spec{}
	for _, g := range graphs {
		for _, at := range g.Entries() {
			s := &buildcache.Spec{Hash: g.Hash(at), Name: g.Name(at), Version: g.VersionOf(at), External: g.External(at)}
			for to, types := range g.Deps(at) {
				s.Dependencies = append(s.Dependencies, buildcache.Dependency{Name: g.Name(to), Hash: g.Hash(to), Types: types})
			}
			specs[s.Hash] = s
		}
	}
	return specs
}
