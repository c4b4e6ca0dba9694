package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

// clean measures what the janitor does with one cache, and what the floor of
// that is.
func (b *bench) clean(ctx context.Context, specs, layout int) error {
	c, err := b.fill(ctx, fmt.Sprintf("specs-%d-layout-%d", specs, layout), specs, layout)
	if err != nil {
		return err
	}
	known := filepath.Join(b.dir, c.bucket+".known")
	s := step{Mirror: "s3://" + c.bucket, Layout: layout}
	var floor *Figures
	for _, name := range []string{"list", "list in shards", "index", "list+index"} {
		s.Do = name
		if floor, err = b.step(ctx, s, name, specs, b.repeat, nil); err != nil {
			return err
		}
	}
	for _, v := range c.variants(known, b.byAge) {
		s.Do, s.Lock, s.MaxAge, s.Known = v.do, v.lock, v.age, v.known
		if v.age > 0 {
			s.MaxAge += time.Since(b.now) // ages grow while others are measured
		}
		repeat := b.repeat
		if v.once {
			repeat = 1
		}
		if v.do == "prune" {
			time.Sleep(1100 * time.Millisecond) // servers tell seconds, and what is condemned must have waited
		}
		f, err := b.step(ctx, s, v.name, specs, repeat, floor)
		if err != nil {
			return err
		}
		f.Least = c.least(v)
		if want := c.inCache() - c.stay; v.do != "reindex" && f.Gone != want {
			return fmt.Errorf("%s: %d specs go, want %d: the janitor is wrong, or this program", v.name, f.Gone, want)
		}
	}
	return nil
}

// step measures one step, and keeps the fastest of several tries.
func (b *bench) step(ctx context.Context, s step, name string, specs, repeat int, floor *Figures) (*Figures, error) {
	var best *Figures
	for range max(1, repeat) {
		f := &Figures{Step: name, Specs: specs, Layout: s.Layout}
		if err := b.measure(ctx, s, f); err != nil {
			return nil, err
		}
		if best == nil || f.Wall < best.Wall {
			best = f
		}
	}
	if floor != nil {
		best.WallRatio, best.CPURatio = best.Wall/floor.Wall, best.CPU/floor.CPU
	}
	fmt.Fprintf(b.log, "  %s: %.2f s, %d requests\n", name, best.Wall, best.Total)
	b.results = append(b.results, best)
	return best, nil
}

// A variant is one way to call the janitor.
type variant struct {
	do, name string
	lock     string
	age      time.Duration
	known    string
	cold     bool // nothing is known of the manifests yet
	once     bool // it changes something
}

func (c *cache) variants(known string, byAge bool) []variant {
	roots := variant{do: "plan", name: "plan by lockfile", lock: c.big}
	other := variant{do: "plan", name: "plan by age", lock: c.small, age: c.age}
	if byAge {
		roots, other = other, roots
	}
	roots.name = "plan"
	condemned, pruned := roots, roots
	condemned.do, condemned.name, condemned.once = "condemn", "condemn", true
	pruned.do, pruned.name, pruned.once = "prune", "prune", true
	all := []variant{roots, other, condemned, pruned, {do: "reindex", name: "reindex", once: true}}
	if c.recipe.Layout == 3 {
		cold := roots
		cold.name, cold.cold, cold.once = "plan, cold", true, true
		all = append([]variant{cold}, all...)
	}
	for i := range all {
		all[i].known = known
	}
	return all
}

// least returns the fewest requests that do: the index, the listing, the
// manifests that are new, the deletions, the new index, and a lease.
func (c *cache) least(v variant) int {
	pages := func(objects int) int { return (objects + 999) / 1000 }
	specs, gone := c.inCache(), c.inCache()-c.stay
	n, deletions := 1+pages(2*specs), pages(2*gone)
	if c.recipe.Layout == 3 {
		n, deletions = 2+pages(specs)+pages(2*specs), pages(3*gone)
		if v.cold {
			n += specs
		}
	}
	switch v.do {
	case "plan":
		return n
	case "prune":
		return n + deletions + 2 + 2
	}
	return 0
}
