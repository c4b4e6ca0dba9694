package janitor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// journalFor is how long a journal stays at least: it is also the record of
// what went, and why.
const journalFor = 90 * 24 * time.Hour

// GCTrash removes what was kept for runs whose time to be taken back has
// passed, and returns how much that was: their trash, or the versions that
// they deleted, and no others. Journals of old runs that cannot be taken back
// any more go too.
func (j Janitor) GCTrash(ctx context.Context) (res Result, err error) {
	err = j.leased(ctx, "gc-trash", func(ctx context.Context) error {
		c := &collection{run: run{Janitor: j, res: &res}, failed: map[string]string{}}
		return c.collect(ctx)
	})
	return res, err
}

// A collection is one call of GCTrash.
type collection struct {
	run
	runs   []*pastRun // that have a journal
	failed map[string]string
}

// A pastRun is what is left of a run.
type pastRun struct {
	name    string
	opened  opening
	record  *versionRecord // nil: it kept no versions
	journal []buildcache.Object
	trash   []buildcache.Object
	steps   int
	done    bool // its versions were collected before
	still   bool // some of the versions that it deleted are there
}

const collected = "versions collected"

// over says that the run was to be kept until now.
func (p *pastRun) over(now time.Time) bool {
	return !p.opened.KeepUntil.IsZero() && now.After(p.opened.KeepUntil)
}

// past says that nobody needs the journal.
func (p *pastRun) past(now time.Time) bool {
	return now.After(p.opened.Began.Add(journalFor)) && (p.opened.KeepUntil.IsZero() || p.over(now)) && !p.still
}

func (c *collection) collect(ctx context.Context) error {
	if err := c.find(ctx); err != nil {
		return err
	}
	var trash []buildcache.Object
	for _, p := range c.runs {
		if p.over(c.Now()) {
			trash = append(trash, p.trash...)
			p.trash = nil
		}
	}
	if err := c.discard(ctx, trash); err != nil {
		return err
	}
	if err := c.versions(ctx); err != nil {
		return err
	}
	if n := len(c.failed); n > 0 {
		c.res.Failed = c.failed
		key := slices.Min(slices.Collect(maps.Keys(c.failed)))
		return fmt.Errorf("%w: %d of what was kept, first %s: %s", ErrUndeleted, n, key, c.failed[key])
	}
	return c.journals(ctx)
}

// find reads the journals. Trash of a run without one stays: nobody knows how
// long it was wanted.
func (c *collection) find(ctx context.Context) error {
	journals, err := c.byRun(ctx, Prefix+"runs/")
	if err != nil {
		return err
	}
	trash, err := c.byRun(ctx, Prefix+"trash/")
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(journals)) {
		opened, steps, err := readRun(ctx, c.Store, name)
		if errors.Is(err, ErrNothingFor) {
			continue
		}
		if err != nil {
			return err
		}
		done := slices.ContainsFunc(steps, func(s Step) bool { return s.What == collected })
		c.runs = append(c.runs, &pastRun{name: name, opened: opened, record: recorded(steps), journal: journals[name], trash: trash[name], steps: len(steps), done: done})
	}
	return nil
}

func (c *collection) byRun(ctx context.Context, prefix string) (map[string][]buildcache.Object, error) {
	found := map[string][]buildcache.Object{}
	for o, err := range c.Store.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		if name, _, ok := strings.Cut(strings.TrimPrefix(o.Key, prefix), "/"); ok {
			found[name] = append(found[name], o)
		}
	}
	return found, nil
}

// discard deletes objects of ours and counts them.
func (c *collection) discard(ctx context.Context, objects []buildcache.Object) error {
	if len(objects) == 0 {
		return nil
	}
	failed := map[string]string{}
	keys := keysOf(objects)
	if err := c.deleteBatches(ctx, len(keys), failed, func(from, to int) []string { return keys[from:to] }); err != nil {
		return err
	}
	for _, o := range objects {
		if _, bad := failed[o.Key]; !bad {
			c.res.Objects++
			c.res.Bytes += o.Size
		}
	}
	maps.Copy(c.failed, failed)
	return nil
}

func keysOf(objects []buildcache.Object) []string {
	keys := make([]string, len(objects))
	for i, o := range objects {
		keys[i] = o.Key
	}
	return keys
}

// versions deletes those of runs that are over, and looks whether old runs
// without an end still have theirs.
func (c *collection) versions(ctx context.Context) error {
	keys := map[string]bool{}
	var runs []*pastRun
	for _, p := range c.runs {
		if p.record != nil && !p.done && (p.over(c.Now()) || p.past(c.Now())) {
			runs = append(runs, p)
			maps.Copy(keys, p.record.keys())
		}
	}
	if len(keys) == 0 {
		return nil
	}
	store, ok := versionsOf(c.Store)
	if !ok {
		return errors.New("runs have kept versions, of which this store knows nothing: give the mirror by its s3:// address")
	}
	listed, err := listVersions(ctx, store, keys)
	if err != nil {
		return err
	}
	var versions, markers []buildcache.Version
	for _, p := range runs {
		for _, key := range slices.Sorted(maps.Keys(p.record.versions)) {
			old, hiding := p.record.old(key, listed[key])
			if !p.over(c.Now()) {
				p.still = p.still || len(old) > 0
				continue
			}
			versions, markers = append(versions, old...), append(markers, hiding...)
		}
	}
	if err := c.forGood(ctx, store, versions, markers); err != nil || len(c.failed) > 0 {
		return err
	}
	for _, p := range runs {
		if !p.over(c.Now()) {
			continue
		}
		j := &journal{store: c.Store, run: p.name, n: p.steps, now: c.Now}
		if err := j.write(ctx, Step{What: collected}); err != nil {
			return err
		}
		p.journal = append(p.journal, buildcache.Object{Key: j.last()})
	}
	return nil
}

// forGood deletes versions, and only then the markers: a version without its
// marker would be there again.
func (c *collection) forGood(ctx context.Context, store versioned, versions, markers []buildcache.Version) error {
	failed, err := deleteVersions(ctx, store, versions)
	if err != nil {
		return err
	}
	for _, v := range versions {
		if _, bad := failed[v.Key]; !bad {
			c.res.Objects++
			c.res.Bytes += v.Size
		}
	}
	maps.Copy(c.failed, failed)
	markers = slices.DeleteFunc(markers, func(m buildcache.Version) bool { _, bad := failed[m.Key]; return bad })
	failed, err = deleteVersions(ctx, store, markers)
	maps.Copy(c.failed, failed)
	return err
}

func deleteVersions(ctx context.Context, store versioned, versions []buildcache.Version) (failed map[string]string, err error) {
	failed = map[string]string{}
	for chunk := range slices.Chunk(versions, batch) {
		var per *buildcache.DeleteError
		err := store.DeleteVersions(ctx, chunk)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		switch {
		case errors.As(err, &per):
			for _, f := range per.Failed {
				failed[f.Key] = f.Err.Error()
			}
		case err != nil:
			return nil, err
		}
	}
	return failed, nil
}

// journals deletes what runs have written that are past, what names the run
// last: killed in between, the next collection does the rest.
func (c *collection) journals(ctx context.Context) error {
	var notes, openings []string
	for _, p := range c.runs {
		if !p.past(c.Now()) {
			continue
		}
		notes = append(notes, keysOf(p.trash)...)
		for _, key := range keysOf(p.journal) {
			if key == openingKey(p.name) {
				openings = append(openings, key)
			} else {
				notes = append(notes, key)
			}
		}
	}
	for _, keys := range [][]string{notes, openings} {
		if len(keys) == 0 {
			continue
		}
		if err := c.Store.Delete(ctx, keys); err != nil {
			return fmt.Errorf("journals: %w", err)
		}
	}
	if len(openings) > 0 {
		c.Log("journals of runs older than %d days removed: %d", int(journalFor.Hours()/24), len(openings))
	}
	return nil
}
