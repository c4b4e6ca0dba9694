package targets

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/abstract"
	"github.com/openbraininstitute/spacktainers/internal/definition"
	"github.com/openbraininstitute/spacktainers/internal/whymiss"
)

// WhyMiss says, as containers:why-miss, why packages of a container would be built although the build cache is full: what
// differs between each that is missing and the nearest one that is cached, reduced to root causes.
// It reads the lockfile and the cache's index, and nothing else.
func (Containers) WhyMiss(ctx context.Context, name string,
	platform *string, // linux/amd64 or linux/arm64 (default: all that it is defined for)
	mirror *string, // build caches, by commas (default: the platform's)
	lock *string, // lockfile (default: the one beside the definition)
	if_ *string, // --if: suppose that a package were what is cached of it, as qs-hash@1.2 or qs-hash/igwyoxc: what would be built then?
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	var suppose *abstract.Spec
	if if_ != nil {
		parsed, err := abstract.Parse(*if_, false)
		if err != nil {
			return callError{fmt.Errorf("--if: %w", err)}
		}
		suppose = &parsed
	}
	defs, err := a.find(name, platform)
	if err != nil {
		return err
	}
	results := []whyMissed{}
	var errs []error
	for _, d := range defs {
		done := a.busy(ctx, d.Name+" "+d.Platform, "reading build caches")
		result, err := a.whyMiss(ctx, d, mirror, lock, suppose)
		done()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s for %s: %w", d.Name, d.Platform, err))
			continue
		}
		results = append(results, result)
		if !or(json, false) {
			errs = append(errs, a.showWhyMissed(result))
		}
	}
	if or(json, false) {
		errs = append(errs, a.JSON(results))
	}
	return errors.Join(errs...)
}

// whyMissed is what containers:why-miss says of a container for one platform.
type whyMissed struct {
	Name     string   `json:"name"`
	Platform string   `json:"platform"`
	Mirrors  []string `json:"mirrors"`
	whymiss.Report
	If *whymiss.Supposition `json:"if,omitempty"`
}

// dated is for how many causes it is looked up when the nearest spec was uploaded.
const dated = 20

func (a *app) whyMiss(ctx context.Context, d definition.Definition, mirror, lockFile *string, suppose *abstract.Spec) (whyMissed, error) {
	result := whyMissed{Name: d.Name, Platform: d.Platform, Mirrors: list(or(mirror, a.config.Platforms[d.Platform].Mirror))}
	if len(result.Mirrors) == 0 {
		return result, errNoCache
	}
	c, err := a.container(d, lockFile)
	if err != nil {
		return result, err
	}
	if c.Lock == nil {
		return result, fmt.Errorf("no lockfile, so that it is not known what would be installed: give --lock=FILE, or write one with mage containers:lock %s --save", d.Name)
	}
	var stores []buildcache.Store
	for _, url := range result.Mirrors {
		store, _, err := a.openStore(ctx, url)
		if err != nil {
			return result, err
		}
		stores = append(stores, store)
	}
	cached, err := whymiss.Read(ctx, stores...)
	if err != nil {
		return result, fmt.Errorf("%s: %w", strings.Join(result.Mirrors, ", "), err)
	}
	defer cached.Close()
	if result.Report, err = whymiss.Explain(c.Lock, cached); err != nil {
		return result, err
	}
	result.Date(ctx, stores, dated)
	if suppose != nil {
		supposed, err := whymiss.Suppose(c.Lock, cached, *suppose)
		if err != nil {
			return result, callError{fmt.Errorf("--if: %w", err)}
		}
		result.If = &supposed
	}
	return result, nil
}

func (a *app) showWhyMissed(r whyMissed) error {
	err := a.Print("%s for %s: %d packages would be built, %d are in %s", r.Name, r.Platform, len(r.Missing), r.Cached, strings.Join(r.Mirrors, ", "))
	for _, c := range r.Causes {
		err = errors.Join(err, a.Print("%s", c))
	}
	if r.If == nil {
		return err
	}
	err = errors.Join(err, a.Print("with %s: %d packages would be built, %d would not", strings.Join(r.If.With, ", "), len(r.If.Built), len(r.If.Saved)))
	for _, s := range r.If.Built {
		err = errors.Join(err, a.Print("still built: %s", s))
	}
	return err
}
