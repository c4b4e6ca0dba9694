package torture

import (
	"bytes"
	"cmp"
	"context"
	"fmt"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// product is package janitor, called as the targets call it.
type product struct{}

func (product) of(c Call) janitor.Janitor {
	var opts scan.Options
	if c.Memory != nil {
		if *c.Memory == nil {
			*c.Memory = scan.OpenKnown("")
		}
		opts.Known = (*c.Memory).(*scan.Known)
	}
	if c.Inventory != nil {
		opts.Inventory = c.Inventory
	}
	return janitor.Janitor{
		Scan:  opts,
		Store: c.Actor, Mirror: c.Mirror, Owner: c.Actor.Name, Repository: c.Repo, HandOver: c.HandOver,
		Policy: janitor.Policy{Grace: grace, Wait: wait, MaxAge: c.MaxAge, KeepLast: c.KeepLast, UsedSince: c.Used, Uses: c.Uses,
			DropBuild: c.DropBuild, NoRoots: c.NoRoots, MaxFraction: cmp.Or(c.Brake, 1), Raise: c.Raise},
		Now: c.Actor.Now,
		Log: func(format string, args ...any) { c.Actor.w.log(c.Actor, fmt.Sprintf(format, args...)) },
		Roots: func(context.Context) (roots rootset.Roots, err error) {
			for i, text := range c.Locks() {
				lock, err := rootset.ParseLock(fmt.Sprintf("lock %d", i), text)
				if err != nil {
					return roots, err
				}
				roots.Locks = append(roots.Locks, lock)
			}
			for _, pin := range c.Pins() {
				roots.Pins = append(roots.Pins, rootset.Pin(pin))
			}
			return roots, nil
		},
	}
}

func (p product) Prune(ctx context.Context, c Call) error {
	_, err := p.of(c).Prune(ctx)
	return err
}

func (p product) DryRun(ctx context.Context, c Call) error {
	_, err := p.of(c).Plan(ctx)
	return err
}

func (p product) Plan(ctx context.Context, c Call) ([]byte, error) {
	plan, err := p.of(c).Plan(ctx)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	err = plan.WriteJSON(&text)
	return text.Bytes(), err
}

func (p product) ApplyPlan(ctx context.Context, c Call, text []byte) error {
	reviewed, err := janitor.ReadPlan(bytes.NewReader(text))
	if err != nil {
		return err
	}
	plan, err := p.of(c).PlanReviewed(ctx, reviewed)
	if err != nil {
		return err
	}
	_, err = p.of(c).Apply(ctx, plan)
	return err
}

func (p product) Purge(ctx context.Context, c Call, hash string) error {
	plan, err := p.of(c).PlanPurge(ctx, janitor.Purge{Pin: rootset.Pin(hash), Dependents: true})
	if err != nil {
		return err
	}
	_, err = p.of(c).Apply(ctx, plan)
	return err
}

func (p product) Spare(ctx context.Context, c Call, hash string) error {
	_, err := p.of(c).Spare(ctx, []rootset.Pin{rootset.Pin(hash)})
	return err
}

func (p product) Announce(ctx context.Context, c Call, names []string) error {
	var hashes []buildcache.Hash
	for _, name := range names {
		hashes = append(hashes, buildcache.Hash(name))
	}
	_, err := p.of(c).Announce(ctx, c.Actor.Name, hashes)
	return err
}

func (p product) PublishRoots(ctx context.Context, c Call) error {
	_, err := p.of(c).PublishRoots(ctx)
	return err
}

func (p product) Forget(ctx context.Context, c Call, repo string) error {
	return p.of(c).ForgetRoots(ctx, repo)
}

func (p product) Reindex(ctx context.Context, c Call) error {
	_, err := p.of(c).Reindex(ctx, false)
	return err
}
