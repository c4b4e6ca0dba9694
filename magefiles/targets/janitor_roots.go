package targets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/definition"
	"github.com/openbraininstitute/spacktainers/internal/inspect"
	"github.com/openbraininstitute/spacktainers/internal/registry"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
)

// A rootSource reads the roots of a build cache, anew whenever it is asked: the
// lockfiles and images that flags name, or those of the configuration and of
// all definitions; with the pins.
type rootSource func(ctx context.Context) (rootset.Roots, error)

func (a *app) rootSource(lock, image *string, ignoreUnlabelled, ignoreUnlocked, none bool) rootSource {
	return func(ctx context.Context) (roots rootset.Roots, err error) {
		roots.Pins = a.config.Janitor.Pins
		if none && lock == nil && image == nil {
			return roots, nil
		}
		rules := a.config.Janitor.Roots
		if roots.Locks, err = readLocks(listOr(lock, rules.Locks)); err != nil {
			return roots, err
		}
		published, err := a.imageLocks(ctx, listOr(image, rules.Images), ignoreUnlabelled)
		if err != nil {
			return roots, err
		}
		roots.Locks = append(roots.Locks, published...)
		if lock == nil && image == nil {
			err = a.definedRoots(ctx, &roots, ignoreUnlocked)
		}
		return roots, err
	}
}

// definedRoots adds what the definitions need: the lockfile beside each, and
// those of its images in the first registry and of SIFs. A definition that has neither, or
// an image without a lockfile, needs what is not known.
func (a *app) definedRoots(ctx context.Context, roots *rootset.Roots, ignoreUnlocked bool) error {
	defs, err := definition.Load(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a folder without definitions
	}
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, l := range roots.Locks {
		seen[l.Name] = true
	}
	client, end, err := a.registryClient(ctx)
	if err != nil {
		return err
	}
	defer end()
	var unlocked []string                    // definitions of which nothing is known
	unread := map[string][]string{}          // definitions of which no flag may pass over the images, by cause
	published := map[string][]rootset.Lock{} // by name: platforms share a repository
	sums := map[string]bool{}                // of the lockfiles of images
	for _, d := range defs {
		if d.Kind != definition.Environment {
			continue
		}
		known := false
		if d.LockPath != "" {
			locks, err := readLocks([]string{d.LockPath})
			if err != nil {
				return err
			}
			known = true
			if !seen[locks[0].Name] {
				roots.Locks = append(roots.Locks, locks...)
			}
		}
		if _, ok := published[d.Name]; !ok && len(a.config.Registries) > 0 {
			repository, err := registry.Registry(a.config.Registries[0]).Repository(d.Name)
			if err != nil {
				return err
			}
			found, err := inspect.Locks(ctx, client, repository, true)
			if err != nil && ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil && !registry.IsNotFound(err) {
				unread[err.Error()] = append(unread[err.Error()], d.Name)
			}
			published[d.Name] = nil
			for _, lock := range found {
				at := fmt.Sprintf("%s:%s for %s", repository, lock.Tags[0], lock.Platform)
				if lock.Text == nil {
					roots.Unknown = append(roots.Unknown, "the image "+at+" has no lockfile attached")
					continue
				}
				root, err := rootset.ParseLock(at, lock.Text)
				if err != nil {
					return fmt.Errorf("lockfile of %s: %w", at, err)
				}
				roots.Locks = append(roots.Locks, root)
				published[d.Name] = append(published[d.Name], root)
				sums[sumOf(lock.Text)] = true
			}
		}
		for _, l := range published[d.Name] {
			known = known || strings.HasSuffix(l.Name, " for "+d.Platform)
		}
		if !known {
			unlocked = append(unlocked, d.Path)
		}
	}
	if len(unlocked) > 0 {
		roots.Unknown = append(roots.Unknown, "no lockfile is beside "+someOf(unlocked)+", and no image of it is published: --ignore-unlocked passes over that")
	}
	unreadSIFs, err := a.sifRoots(ctx, roots, sums)
	if err != nil {
		return err
	}
	if ignoreUnlocked {
		for _, what := range roots.Unknown {
			a.Log.Warn("passed over: " + what)
		}
		roots.Unknown = nil
	}
	for _, cause := range slices.Sorted(maps.Keys(unread)) {
		roots.Unknown = append(roots.Unknown, fmt.Sprintf("the images of %s cannot be read (%s): --lock and --image go by what they name alone", someOf(unread[cause]), cause))
	}
	if unreadSIFs != "" {
		roots.Unknown = append(roots.Unknown, unreadSIFs)
	}
	return nil
}

// someOf names the first of many things, and says how many more there are.
func someOf(names []string) string {
	if len(names) < 3 {
		return strings.Join(names, " and ")
	}
	return fmt.Sprintf("%s and %d others", names[0], len(names)-1)
}

// repository names this repository among others that share a mirror: by the
// configuration, or by its remote and branch. Outside of a checkout it has none.
func (a *app) repository(ctx context.Context) string {
	if name := a.config.Janitor.Name; name != "" {
		return name
	}
	ref := a.gitRef(ctx, nil)
	source := a.origin(ctx, ref).Source
	if source == "" || ref.Branch == "" {
		return ""
	}
	for _, scheme := range []string{"https://", "http://", "ssh://", "git@"} {
		source = strings.TrimPrefix(source, scheme)
	}
	return strings.TrimSuffix(source, ".git") + "/" + ref.Branch
}

// Roots lists the root sets of all who share a build cache, with whose they are
// and how long they count. --publish refreshes that of this repository.
func (Janitor) Roots(ctx context.Context,
	mirror *string, // build caches, by commas (default: those of the platforms)
	publish *bool, // write what this repository needs
	forget *string, // remove this set
	lock *string, // with --publish: lockfiles, by commas (default: those of the definitions)
	image *string, // with --publish: repositories of images, by commas (default: those of the definitions)
	ignoreUnlabelled *bool, // --ignore-unlabelled: pass over images that have no lockfile attached
	ignoreUnlocked *bool, // --ignore-unlocked: pass over definitions that have neither a lockfile nor a published image
	keepList *bool, // --keep-list: print the hashes of all sets that count, one a line, as spack buildcache prune -k wants them
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	if or(keepList, false) && or(json, false) {
		return wrongCall("--keep-list is a list for Spack, --json one for other machines: give one of them")
	}
	run := janitorRun{app: a, json: or(json, false), roots: a.rootSource(lock, image, or(ignoreUnlabelled, false), or(ignoreUnlocked, false), false)}
	return run.each(ctx, mirror, func(m *mirrorStore) error {
		j, err := run.janitor(m)
		if err != nil {
			return err
		}
		if forget != nil {
			if err := j.ForgetRoots(ctx, *forget); err != nil {
				return err
			}
		}
		if or(publish, false) {
			j.Repository = a.repository(ctx)
			set, err := j.PublishRoots(ctx)
			if err != nil {
				return err
			}
			a.Log.Info("published", "set", set.Name, "specs", set.Specs(), "until", set.Ends().Format(time.DateOnly))
		}
		sets, err := rootset.List(ctx, m.Store)
		if err != nil {
			return err
		}
		return run.showRoots(m, sets, or(keepList, false))
	})
}

// The rootSets of a mirror are what janitor:roots says of it to machines.
type rootSets struct {
	Mirror   string        `json:"mirror"`
	RootSets []rootset.Set `json:"root_sets"`
}

func (r janitorRun) showRoots(m *mirrorStore, sets []rootset.Set, keepList bool) error {
	now := time.Now()
	if keepList {
		hashes := map[buildcache.Hash]bool{}
		var errs []error
		for _, s := range sets {
			if s.Problem != "" {
				errs = append(errs, fmt.Errorf("%s: %s", s.Name, s.Problem))
			}
			for _, o := range s.Origins {
				for _, h := range o.Specs {
					hashes[h] = s.Ends().After(now) || hashes[h]
				}
			}
		}
		for _, h := range slices.Sorted(maps.Keys(hashes)) {
			if hashes[h] {
				errs = append(errs, r.Print("%s", h))
			}
		}
		return errors.Join(errs...)
	}
	if r.json {
		return r.JSON(rootSets{m.url, sets})
	}
	var rows [][]string
	for _, s := range sets {
		state := "counts until " + s.Ends().Format(time.DateOnly)
		switch {
		case s.Problem != "":
			state = "cannot be read: " + s.Problem
		case !s.Ends().After(now):
			state = "has ended on " + s.Ends().Format(time.DateOnly)
		}
		rows = append(rows, []string{s.Name, s.Owner, s.Written.Format(time.DateOnly), strconv.Itoa(s.Specs()), state})
	}
	if len(rows) == 0 {
		r.Log.Info("there are no root sets")
		return nil
	}
	return r.Table([]string{"roots", "of", "written", "specs", "state"}, rows)
}
