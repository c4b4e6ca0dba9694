package targets

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/atomicfile"
	"github.com/openbraininstitute/spacktainers/internal/page"
	"github.com/openbraininstitute/spacktainers/internal/whymiss"
	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// A reportPage is what janitor:report --html draws: each build cache with all its specs.
type reportPage struct {
	path    string        // of the file; empty: there is none to be
	Mirrors []drawnMirror `json:"mirrors"`
}

// A drawnMirror is a build cache as the page's script takes it.
type drawnMirror struct {
	Mirror    string            `json:"mirror"`
	Made      time.Time         `json:"made"`
	Notes     []string          `json:"notes"`
	Totals    janitor.Totals    `json:"totals"`
	Condemned *janitor.Totals   `json:"condemned"` // null: it is not known what must stay
	Due       *janitor.Totals   `json:"due"`
	Runs      []pastRun         `json:"runs"` // ascending, this one last
	Picture   janitor.Picture   `json:"picture"`
	Builds    *whymiss.Overview `json:"builds"` // null: no lockfile says what is installed
}

// A pastRun is what a plan on this machine found in a build cache.
type pastRun struct {
	Made  time.Time `json:"made"`
	Specs int       `json:"specs"`
	Bytes int64     `json:"bytes"`
}

// draw adds a build cache to the page, if one is wanted: as a plan has seen it or, without one, a
// scan.
func (r janitorRun) draw(ctx context.Context, m *mirrorStore, report janitor.Report, plan *janitor.Plan, scan *scan.Scan, locks []rootset.Lock) error {
	if r.page.path == "" {
		return nil
	}
	builds, err := r.builds(ctx, m, locks)
	if err != nil {
		return err
	}
	d := drawnMirror{Mirror: m.url, Made: time.Now().UTC(), Notes: []string{}, Totals: report.Totals, Builds: builds}
	if plan != nil {
		d.Picture, d.Condemned, d.Due, d.Notes = plan.Picture(), &plan.Room, &plan.Due, append(d.Notes, plan.Notes...)
		if plan.Brake != "" {
			d.Notes = append(d.Notes, plan.Brake)
		}
	} else {
		d.Picture = janitor.PictureOf(scan)
	}
	if report.Damaged > 0 {
		d.Notes = append(d.Notes, fmt.Sprintf("%d packages are damaged: see janitor:verify", report.Damaged))
	}
	d.Runs = append(pastRuns(filepath.Join(outDir, "janitor"), m.name), pastRun{d.Made, d.Totals.Specs, d.Totals.Bytes})
	r.page.Mirrors = append(r.page.Mirrors, d)
	return nil
}

// write writes the page, where one is wanted and there is something to draw.
func (p *reportPage) write(a *app) error {
	if p.path == "" || len(p.Mirrors) == 0 {
		return nil
	}
	var text bytes.Buffer
	if err := page.Write(&text, "Build cache "+p.Mirrors[0].Mirror, p); err != nil {
		return fmt.Errorf("--html: %w", err)
	}
	if err := atomicfile.Write(p.path, text.Bytes(), 0o644); err != nil {
		return fmt.Errorf("--html: %w", err)
	}
	a.Log.Info("drawn", "page", p.path)
	return nil
}

// pastRuns reads when the plans in a folder were made for a mirror, and what they found. A file that
// says something else is none.
func pastRuns(dir, mirror string) (runs []pastRun) {
	files, _ := filepath.Glob(filepath.Join(dir, "*", "plan.json"))
	for _, path := range files {
		head, err := planHead(path)
		if err == nil && head.Mirror == mirror && head.Before.Specs > 0 && head.Refused == "" {
			runs = append(runs, pastRun{head.Made, head.Before.Specs, head.Before.Bytes})
		}
	}
	slices.SortFunc(runs, func(a, b pastRun) int { return a.Made.Compare(b.Made) })
	return runs
}

// planHead reads the first line of a plan, which has all but the lists.
func planHead(path string) (head janitor.Head, err error) {
	file, err := os.Open(path)
	if err != nil {
		return head, err
	}
	defer file.Close()
	line, err := bufio.NewReader(io.LimitReader(file, 1<<20)).ReadBytes('\n')
	if err != nil {
		return head, err
	}
	line = append(bytes.TrimSuffix(line, []byte(",\n")), '}')
	return head, json.Unmarshal(line, &head)
}

// planToDraw makes the plan for a page. Where nothing says what must stay, and nothing was named to
// say so, there is none: the page then draws what is there alone.
func (r janitorRun) planToDraw(ctx context.Context, j janitor.Janitor, named bool) (*janitor.Plan, error) {
	plan, err := j.Plan(ctx)
	if err == nil || named || ctx.Err() != nil {
		return plan, err
	}
	r.Log.Warn("what must stay is not known, and so not drawn", "why", err)
	return nil, nil
}

// builds says what is built of the containers whose lockfiles are roots, and why the build cache
// does not have it; nil where there are none. What cannot be said is no error: the page has the rest.
func (r janitorRun) builds(ctx context.Context, m *mirrorStore, locks []rootset.Lock) (*whymiss.Overview, error) {
	if len(locks) == 0 {
		return nil, nil
	}
	var sources []whymiss.Source
	for _, l := range locks {
		sources = append(sources, whymiss.Source{Name: l.Name, Lock: l.Full})
	}
	stores := []buildcache.Store{m.Store}
	var overview whymiss.Overview
	cached, err := whymiss.Read(ctx, stores...)
	if err == nil {
		defer cached.Close()
		overview, err = whymiss.Look(ctx, sources, r.platformsOf(m.at), cached, stores)
	}
	if err != nil && ctx.Err() == nil {
		overview.Problem, err = err.Error(), nil
	}
	return &overview, err
}

// platformsOf are the platforms whose build cache a mirror is, by the configuration.
func (a *app) platformsOf(mirror buildcache.Location) (platforms []string) {
	for _, name := range sortedKeys(a.config.Platforms) {
		if at, err := buildcache.ParseLocation(a.config.Platforms[name].Mirror, ""); err == nil && at.Same(mirror) {
			platforms = append(platforms, name)
		}
	}
	return platforms
}
