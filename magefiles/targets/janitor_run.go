package targets

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/ctxio"
	"github.com/openbraininstitute/spacktainers/internal/ui"
	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// A mirrorStore is a build cache to be cleaned.
type mirrorStore struct {
	janitor.Store
	url      string // as it was given
	at       buildcache.Location
	name     string // the same for all ways to write it
	known    *scan.Known
	requests fmt.Stringer // what was sent; nil where nothing counts it

	progress *ui.Progress
	mu       sync.Mutex
	task     *ui.Task // that is shown; nil: none
}

// scan is how the mirror is looked at.
func (m *mirrorStore) scan() scan.Options {
	return scan.Options{Known: m.known, Watch: m.watch}
}

// watch shows how far a step is.
func (m *mirrorStore) watch(step string, done, of int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.task == nil {
		m.task = m.progress.Begin(m.url)
	}
	m.task.Count(step, int64(done), int64(of), ui.Things)
}

// still shows nothing until the next step: a plan or a question is to be read.
func (m *mirrorStore) still() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.task != nil {
		m.task.End()
		m.task = nil
	}
}

// sleep waits, and shows that.
func (m *mirrorStore) sleep(ctx context.Context, d time.Duration) error {
	m.watch("waiting for "+d.Round(time.Second).String(), 0, 0)
	return ctxio.Sleep(ctx, d)
}

func (a *app) openMirror(ctx context.Context, url string) (*mirrorStore, error) {
	at, err := a.location(url)
	if err != nil {
		return nil, err
	}
	s, requests, err := a.openStore(ctx, url)
	if err != nil {
		return nil, err
	}
	name := mirrorName(at)
	known := scan.OpenKnown(filepath.Join(workDir, "janitor", fileName(name)+".known"))
	return &mirrorStore{Store: s, url: url, at: at, name: name, known: known, requests: requests}, nil
}

// mirrorName is the address of a mirror in one spelling: what is condemned in it
// is believed under this name only.
func mirrorName(at buildcache.Location) string {
	if at.IsBucket() {
		return at.String()
	}
	if real, err := filepath.EvalSymlinks(at.Folder); err == nil {
		return "file://" + real
	}
	return "file://" + at.Folder
}

// fileName makes a file's name of a URL.
func fileName(url string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' {
			return r
		}
		return '_'
	}, url)
}

// A janitorRun is one call of a janitor target.
type janitorRun struct {
	*app
	dry, yes, json bool
	rules          ruleFlags
	roots          rootSource
	settle         time.Duration
	planFile       string
	inventory      string          // to read instead of listing
	batch          string          // file for what another process deletes
	metrics        *janitorMetrics // nil: none are wanted
	page           *reportPage     // of a report
}

// janitor returns the janitor of a mirror.
func (r janitorRun) janitor(m *mirrorStore) (janitor.Janitor, error) {
	policy, err := r.policy(m.at)
	j := janitor.Janitor{
		Store: m.Store, Mirror: m.name, Policy: policy, Scan: m.scan(), Roots: r.roots, Settle: r.settle, Sleep: m.sleep,
		Owner: r.owner(), Log: func(format string, args ...any) { r.Log.Infof(format, args...) },
	}
	j.Price = func(ctx context.Context, all []*janitor.Priced) error { return r.price(ctx, m, all) }
	if r.settle == 0 {
		j.Settle = -1 // --settle=0
	}
	return j, err
}

// each does something to all mirrors. One that fails does not stop the others.
func (r janitorRun) each(ctx context.Context, mirrors *string, f func(*mirrorStore) error) error {
	// What a scan holds are few big arrays without pointers, and what listings
	// leave behind is a lot: to collect it often costs little and saves half.
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	urls, err := r.mirrors(mirrors)
	if err != nil {
		return err
	}
	progress := r.Progress(ctx)
	defer progress.Close()
	var errs []error
	if r.json {
		errs = append(errs, theDocument.begin(r.Out))
	}
	for _, url := range urls {
		ended := r.metrics.begin(url)
		m, err := r.openMirror(ctx, url)
		if err == nil {
			m.progress = progress
			m.watch("reading what must stay", 0, 0)
			err = errors.Join(f(m), m.known.Save()) // what a run that failed has read is known all the same
			m.still()
			if m.requests != nil {
				r.Log.Info("sent", "requests", m.requests.String(), "mirror", url)
			}
		}
		ended(err)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", url, err))
		}
	}
	return errors.Join(errors.Join(errs...), r.metrics.write())
}

// mirrors are those that a flag lists, or those of the configuration: each once, however it is
// spelt.
func (r janitorRun) mirrors(flag *string) ([]string, error) {
	var urls []string
	for _, p := range r.config.Platforms {
		if p.Mirror != "" {
			urls = append(urls, p.Mirror)
		}
	}
	slices.Sort(urls)
	if flag != nil {
		urls = list(*flag)
	}
	if len(urls) == 0 {
		return nil, errNoCache
	}
	var found []buildcache.Location
	return slices.DeleteFunc(urls, func(url string) bool {
		at, err := r.location(url)
		if err != nil {
			return false // opening it says why
		}
		again := slices.ContainsFunc(found, at.Same)
		found = append(found, at)
		return again
	}), nil
}

func (r janitorRun) prune(ctx context.Context, m *mirrorStore) error {
	j, err := r.janitor(m)
	if err != nil {
		return err
	}
	if j.Repository = r.repository(ctx); j.Repository == "" && !j.Policy.NoRoots {
		r.Log.Warn("this repository has no name, so that no root set tells others what it needs: set janitor.name", "mirror", m.url)
	}
	if r.batch != "" {
		if err := r.versionsFor(ctx, m); err != nil {
			return err
		}
	}
	if r.inventory != "" {
		if j.Scan.Inventory, err = r.openInventory(ctx, m.at); err != nil {
			return err
		}
	}
	var plan *janitor.Plan
	if r.planFile == "" {
		plan, err = j.Plan(ctx)
	} else {
		plan, err = r.reviewed(ctx, m, &j)
	}
	return r.carryOut(ctx, m, j, plan, err)
}

// reviewed makes a plan of what a file and a new plan say alike.
func (r janitorRun) reviewed(ctx context.Context, m *mirrorStore, j *janitor.Janitor) (*janitor.Plan, error) {
	file, err := os.Open(r.planFile)
	if err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	defer file.Close()
	read, err := janitor.ReadPlan(bufio.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("plan %s: %w: give the plan.json that a run has left below %s", r.planFile, err, filepath.Join(outDir, "janitor"))
	}
	if name := r.rules.overruled(j.Policy, read.Policy); name != "" {
		return nil, wrongCall("--plan=%s was made with another %s, and has its own rules: give it where the plan is made, with --dry-run", r.planFile, name)
	}
	plan, err := j.PlanReviewed(ctx, read)
	if plan != nil {
		j.Policy = plan.Policy // the rules of the plan
	}
	return plan, err
}

func (r janitorRun) purge(ctx context.Context, m *mirrorStore, purge janitor.Purge) error {
	j, err := r.janitor(m)
	if err != nil {
		return err
	}
	plan, refused := j.PlanPurge(ctx, purge)
	if refused != nil && plan != nil {
		refused = nearName(refused, string(purge.Pin), plan)
	}
	if err := r.carryOut(ctx, m, j, plan, refused); err != nil {
		return err
	}
	if v, ok := m.Store.(versionLister); ok && !r.dry {
		const left = "what was removed stays readable by its version until a rule expires it; after a leak, delete the versions too"
		switch kept, err := v.KeptVersions(ctx); {
		case err != nil:
			r.Log.Warn("it is not known whether the bucket keeps versions; if so, "+left, "mirror", m.url, "because", err)
		case kept:
			r.Log.Warn("the bucket keeps versions, or did so: "+left, "mirror", m.url)
		}
	}
	return nil
}

// A pruned mirror is what prune and purge say to machines.
type prunedMirror struct {
	Mirror string          `json:"mirror"`
	Plan   *janitor.Plan   `json:"plan"`
	Result *janitor.Result `json:"result,omitempty"`
}

// carryOut shows a plan, and applies it unless that is not wanted. Its file is
// kept, for --plan.
func (r janitorRun) carryOut(ctx context.Context, m *mirrorStore, j janitor.Janitor, plan *janitor.Plan, refused error) error {
	if plan == nil {
		return refused
	}
	m.still()
	path := filepath.Join(outDir, "janitor", plan.Run+"-"+fileName(m.url), "plan.json")
	out := prunedMirror{Mirror: m.url, Plan: plan}
	r.metrics.planned(m.url, plan)
	if refused != nil && plan.Before.Specs == 0 {
		return refused // it came to no decision
	}
	if err := writePlan(path, plan); err != nil {
		return errors.Join(refused, err)
	}
	if !r.json {
		if err := r.showPlan(plan, path); err != nil {
			return errors.Join(refused, err)
		}
	}
	if refused != nil || r.dry {
		return errors.Join(refused, r.show(out))
	}
	if err := r.confirm(ctx, plan); err != nil {
		return err
	}
	if r.batch != "" {
		if err := r.readyToHandOver(m.at); err != nil {
			return err
		}
		j.HandOver = func(step int, objects []buildcache.Object) error { return r.handOver(ctx, m, step, objects) }
	}
	result, err := j.Apply(ctx, plan)
	m.still()
	out.Result = &result
	r.metrics.applied(m.url, result)
	if result.Run != "" {
		r.Log.Info("pruned", "run", result.Run, "condemned", result.Condemned, "back", result.Back, "deleted", result.Specs, "objects", result.Objects,
			"size", ui.Size(result.Bytes), "stayed", len(result.Stayed))
	}
	return errors.Join(err, r.show(out))
}

func writePlan(path string, plan *janitor.Plan) (err error) {
	if err = os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	file, err := os.Create(path)
	if err == nil {
		err = errors.Join(plan.WriteJSON(file), file.Close())
	}
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	return nil
}
