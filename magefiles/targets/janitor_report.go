package targets

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/suggest"
	"github.com/openbraininstitute/spacktainers/internal/ui"
	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// Report shows what a build cache holds, by kind, package and age, what is
// biggest, and what belongs to nothing; with lockfiles, also what is condemned
// and what the next prune would free.
func (Janitor) Report(ctx context.Context,
	mirror *string, // build caches, by commas (default: those of the platforms)
	lock *string, // lockfiles whose specs stay, by commas
	image *string, // repositories of images whose specs stay, by commas
	ignoreUnlabelled *bool, // --ignore-unlabelled: pass over images that have no lockfile attached
	top *int, // so many packages and specs (default: 10; 0: all)
	html *string, // draw it in this file, a page for browsers that needs no network
	metrics *string, // write totals to this file, as Prometheus reads it
	json *bool, // for machines, with all packages
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	rules := a.config.Janitor.Roots
	wanted := len(listOr(lock, rules.Locks)) > 0 || len(listOr(image, rules.Images)) > 0
	n := or(top, 10)
	if n < 0 {
		return wrongCall("--top is %d, want 0 or more", n)
	}
	run := janitorRun{app: a, json: or(json, false), roots: a.rootSource(lock, image, or(ignoreUnlabelled, false), true, false), metrics: newJanitorMetrics(metrics, "report"), page: &reportPage{path: or(html, "")}}
	err = run.each(ctx, mirror, func(m *mirrorStore) error {
		return run.report(ctx, m, wanted, n)
	})
	return errors.Join(err, run.page.write(a))
}

// reported is what the report says to machines.
type reported struct {
	Mirror string `json:"mirror"`
	janitor.Report
	Condemned *janitor.Totals `json:"condemned,omitempty"` // with what the next prune condemns; nil without lockfiles
	Due       *janitor.Totals `json:"due,omitempty"`       // of that: what the next prune deletes
}

func (r janitorRun) report(ctx context.Context, m *mirrorStore, wanted bool, top int) error {
	if top == 0 {
		top = math.MaxInt
	}
	out := reported{Mirror: m.url}
	var plan *janitor.Plan
	var locks []rootset.Lock // those that the plan goes by
	if wanted || r.page.path != "" {
		j, err := r.janitor(m)
		if err != nil {
			return err
		}
		j.Roots = func(ctx context.Context) (rootset.Roots, error) {
			roots, err := r.roots(ctx)
			locks = roots.Locks
			return roots, err
		}
		if plan, err = r.planToDraw(ctx, j, wanted); err != nil {
			return err
		}
	}
	if plan == nil {
		s, err := scan.New(ctx, m.Store, m.scan())
		if err != nil {
			return err
		}
		if out.Report, err = janitor.NewReport(ctx, m.Store, s, top, time.Now()); err != nil {
			return err
		}
		return errors.Join(r.draw(ctx, m, out.Report, nil, s, locks), r.endReport(out, top))
	}
	var err error
	if out.Report, err = plan.Report(ctx, m.Store, top, time.Now()); err != nil {
		return err
	}
	out.Condemned, out.Due = &plan.Room, &plan.Due
	return errors.Join(r.draw(ctx, m, out.Report, plan, nil, locks), r.endReport(out, top))
}

func (r janitorRun) endReport(out reported, top int) error {
	r.metrics.reported(out)
	if r.json {
		return r.JSON(out)
	}
	return r.showReport(out, top)
}

func (r janitorRun) showReport(out reported, top int) error {
	rows := [][]string{
		shareRow(janitor.Share{Name: out.Mirror, Specs: out.Totals.Specs, Objects: out.Totals.Objects, Bytes: out.Totals.Bytes}),
		{"in no index", strconv.Itoa(len(out.Unindexed))},
		orphansRow("orphans", out.Orphans), orphansRow("the janitor's own", out.Own),
	}
	for name, t := range map[string]*janitor.Totals{"condemned, or would be by janitor:prune": out.Condemned, "due: janitor:prune would free it": out.Due} {
		if t != nil {
			rows = append(rows, shareRow(janitor.Share{Name: name, Specs: t.Specs, Objects: t.Objects, Bytes: t.Bytes}))
		}
	}
	slices.SortFunc(rows[1:], func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	if out.Damaged > 0 {
		rows = append(rows, []string{"damaged: see janitor:verify", strconv.Itoa(out.Damaged)})
	}
	var kinds, ages, packages, specs [][]string
	for _, k := range out.Kinds {
		kinds = append(kinds, []string{k.Name, strconv.Itoa(k.Objects), ui.Size(k.Bytes)})
	}
	for _, a := range out.Ages {
		ages = append(ages, shareRow(a))
	}
	for _, p := range out.Packages[:min(top, len(out.Packages))] {
		packages = append(packages, append(shareRow(p.Share), strconv.Itoa(p.Versions), p.Newest.Format(time.DateOnly)))
	}
	for _, s := range out.Biggest {
		specs = append(specs, []string{s.Spec, ui.Size(s.Bytes), s.Uploaded.Format(time.DateOnly)})
	}
	return errors.Join(
		r.Table([]string{"build cache", "specs", "objects", "size"}, rows),
		r.section([]string{"kind", "objects", "size"}, kinds),
		r.section([]string{"uploaded", "specs", "objects", "size"}, ages),
		r.section([]string{"package", "specs", "objects", "size", "versions", "newest"}, packages),
		r.section([]string{"biggest", "size", "uploaded"}, specs),
	)
}

// section is a table below others.
func (r janitorRun) section(header []string, rows [][]string) error {
	if len(rows) == 0 {
		return nil
	}
	return errors.Join(r.Print(""), r.Table(header, rows))
}

func shareRow(s janitor.Share) []string {
	return []string{s.Name, strconv.Itoa(s.Specs), strconv.Itoa(s.Objects), ui.Size(s.Bytes)}
}

// orphansRow is that of objects which belong to no spec.
func orphansRow(name string, s janitor.Share) []string {
	return []string{name, "", strconv.Itoa(s.Objects), ui.Size(s.Bytes)}
}

// nearName adds to an error about a name that nothing in the cache has those that
// it may have been meant for.
func nearName(err error, what string, s interface{ Names() []string }) error {
	if !errors.Is(err, janitor.ErrNothingFor) {
		return err
	}
	name, _, _ := strings.Cut(what, "@")
	found := suggest.Names(name, s.Names())
	if len(found) == 0 {
		return err
	}
	return fmt.Errorf("%w: did you mean %s?", err, suggest.OneOf(found))
}
