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

	"github.com/openbraininstitute/spacktainers/internal/atomicfile"
	"github.com/openbraininstitute/spacktainers/internal/page"
	"github.com/openbraininstitute/spacktainers/janitor"
)

// A reportPage is what janitor:report --html draws: each build cache with all its specs.
type reportPage struct {
	path    string        // of the file; empty: there is none to be
	Mirrors []drawnMirror `json:"mirrors"`
}

// A drawnMirror is a build cache as the page's script takes it.
type drawnMirror struct {
	Mirror    string          `json:"mirror"`
	Made      time.Time       `json:"made"`
	Notes     []string        `json:"notes"`
	Totals    janitor.Totals  `json:"totals"`
	Condemned *janitor.Totals `json:"condemned"` // null: it is not known what must stay
	Due       *janitor.Totals `json:"due"`
	Runs      []pastRun       `json:"runs"` // ascending, this one last
	Picture   janitor.Picture `json:"picture"`
}

// A pastRun is what a plan on this machine found in a build cache.
type pastRun struct {
	Made  time.Time `json:"made"`
	Specs int       `json:"specs"`
	Bytes int64     `json:"bytes"`
}

// add draws a build cache: as a plan has seen it or, without one, a scan.
func (p *reportPage) add(m *mirrorStore, report janitor.Report, plan *janitor.Plan, scan *janitor.Scan) {
	if p.path == "" {
		return
	}
	d := drawnMirror{Mirror: m.url, Made: time.Now().UTC(), Notes: []string{}, Totals: report.Totals}
	if plan != nil {
		d.Picture, d.Condemned, d.Due, d.Notes = plan.Picture(), &plan.Room, &plan.Due, append(d.Notes, plan.Notes...)
		if plan.Brake != "" {
			d.Notes = append(d.Notes, plan.Brake)
		}
	} else {
		d.Picture = scan.Picture()
	}
	if report.Damaged > 0 {
		d.Notes = append(d.Notes, fmt.Sprintf("%d packages are damaged: see janitor:verify", report.Damaged))
	}
	d.Runs = append(pastRuns(filepath.Join(outDir, "janitor"), m.name), pastRun{d.Made, d.Totals.Specs, d.Totals.Bytes})
	p.Mirrors = append(p.Mirrors, d)
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
