package targets

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/ui"
	"github.com/openbraininstitute/spacktainers/janitor"
)

// A mirrorStore is a build cache to be cleaned.
type mirrorStore struct {
	janitor.Store
	url      string
	known    *janitor.Known
	requests fmt.Stringer // what was sent; nil where nothing counts it
}

func (a *app) openMirror(ctx context.Context, url string) (*mirrorStore, error) {
	s, requests, err := a.openStore(ctx, url)
	known := janitor.OpenKnown(filepath.Join(workDir, "janitor", fileName(url)+".known"))
	return &mirrorStore{Store: s, url: url, known: known, requests: requests}, err
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

func (m *mirrorStore) scan(ctx context.Context, locks []janitor.Lock) (*janitor.Scan, error) {
	return m.scanWith(ctx, janitor.ScanOptions{Known: m.known, Locks: locks})
}

func (m *mirrorStore) scanWith(ctx context.Context, opts janitor.ScanOptions) (*janitor.Scan, error) {
	s, err := janitor.NewScan(ctx, m.Store, opts)
	return s, errors.Join(err, m.known.Save()) // what a scan that failed has read is known all the same
}

func (m *mirrorStore) janitor(a *app, keepFor time.Duration) janitor.Janitor {
	host, _ := os.Hostname()
	return janitor.Janitor{
		Store: m.Store, Scan: janitor.ScanOptions{Known: m.known}, KeepFor: keepFor,
		Owner: cmp.Or(a.env.User, "somebody") + "@" + host + ":" + strconv.Itoa(os.Getpid()),
		Log:   func(format string, args ...any) { a.Log.Infof(format, args...) },
	}
}

// A janitorRun is one call of a janitor target.
type janitorRun struct {
	*app
	dry, yes, json bool
	keepFor        time.Duration
	planFile       string
	inventory      string // to read instead of listing
	batch          string // file for what somebody else deletes
}

// each does something to all mirrors. One that fails does not stop the others.
func (r janitorRun) each(ctx context.Context, mirrors *string, f func(*mirrorStore) error) error {
	// What a scan holds are few big arrays without pointers, and what listings
	// leave behind is a lot: to collect it often costs little and saves half.
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	var urls []string
	for _, p := range r.config.Platforms {
		urls = append(urls, p.Mirror)
	}
	slices.Sort(urls)
	if mirrors != nil {
		urls = list(*mirrors)
	}
	if len(urls) == 0 {
		return wrongCall("no build cache: give --mirror=URL")
	}
	var errs []error
	for _, url := range slices.Compact(urls) {
		m, err := r.openMirror(ctx, url)
		if err == nil {
			err = f(m)
			if m.requests != nil {
				r.Log.Info("sent", "requests", m.requests.String(), "mirror", url)
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", url, err))
		}
	}
	return errors.Join(errs...)
}

func (r janitorRun) prune(ctx context.Context, m *mirrorStore, roots janitor.Roots, policy janitor.Policy) error {
	if r.planFile != "" {
		return r.reviewed(ctx, m)
	}
	opts := janitor.ScanOptions{Known: m.known, Locks: roots.Locks, KeepTexts: !r.dry}
	if r.inventory != "" {
		inventory, err := r.openInventory(ctx, m.url)
		if err != nil {
			return err
		}
		opts.Inventory = inventory
	}
	s, err := m.scanWith(ctx, opts)
	if err != nil {
		return err
	}
	plan, refused := janitor.NewPlan(s, roots, policy, time.Now())
	return r.carryOut(ctx, m, plan, refused)
}

// reviewed applies a plan from a file.
func (r janitorRun) reviewed(ctx context.Context, m *mirrorStore) error {
	file, err := os.Open(r.planFile)
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	defer file.Close()
	read, err := janitor.ReadPlan(bufio.NewReader(file))
	if err != nil {
		return fmt.Errorf("plan %s: %w", r.planFile, err)
	}
	if read.Mirror != m.url {
		return fmt.Errorf("plan %s: it is for %s", r.planFile, read.Mirror)
	}
	s, err := m.scanWith(ctx, janitor.ScanOptions{Known: m.known, KeepTexts: !r.dry})
	if err != nil {
		return err
	}
	plan, refused := read.For(s)
	return r.carryOut(ctx, m, plan, refused)
}

func (r janitorRun) purge(ctx context.Context, m *mirrorStore, purge janitor.Purge) error {
	s, err := m.scanWith(ctx, janitor.ScanOptions{Known: m.known, Locks: purge.Roots.Locks, KeepTexts: !r.dry})
	if err != nil {
		return err
	}
	plan, refused := janitor.NewPurge(s, purge, time.Now())
	refused = nearName(refused, string(purge.Pin), s)
	return r.carryOut(ctx, m, plan, refused)
}

// outcome is what prune and purge say to machines.
type outcome struct {
	Plan   janitor.Plan    `json:"plan"`
	File   string          `json:"file"`
	Result *janitor.Result `json:"result,omitempty"` // nil: the plan was not applied
}

// carryOut shows a plan, and applies it if nothing speaks against it.
func (r janitorRun) carryOut(ctx context.Context, m *mirrorStore, plan janitor.Plan, refused error) error {
	plan.Mirror = m.url
	out := outcome{Plan: plan, File: filepath.Join(outDir, "janitor", plan.Run, "plan.json")}
	if err := writePlan(out.File, plan); err != nil {
		return err
	}
	if nothing := plan.Before == (janitor.Totals{}); !r.json && !(refused != nil && nothing) {
		if err := r.showPlan(plan, out.File); err != nil {
			return err
		}
	}
	if refused != nil || r.dry || plan.Empty() {
		return errors.Join(refused, r.show(out))
	}
	if err := r.confirm(plan); err != nil {
		return err
	}
	j := m.janitor(r.app, r.keepFor)
	if r.batch != "" {
		if err := r.readyToHandOver(m.url); err != nil {
			return err
		}
		j.HandOver = func(step int, keys []string) error { return r.handOver(m.url, step, keys) }
	}
	result, err := j.Apply(ctx, plan)
	out.Result = &result
	if err := errors.Join(err, r.show(out), m.known.Save()); err != nil {
		return err
	}
	if r.batch != "" {
		return nil
	}
	r.Log.Info("pruned", "run", result.Run, "specs", result.Specs, "objects", result.Objects, "size", ui.Size(result.Bytes), "stayed", len(result.Stayed))
	if result.Kept != "" {
		until := "the bucket drops old versions"
		if r.keepFor > 0 {
			until = time.Now().Add(r.keepFor).Format(time.DateOnly)
		}
		r.Log.Info("can be taken back", "until", until, "with", "mage janitor:undo "+result.Run+" --mirror="+m.url)
	}
	return nil
}

func writePlan(path string, plan janitor.Plan) (err error) {
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

// confirm asks where somebody can answer.
func (r janitorRun) confirm(plan janitor.Plan) error {
	if r.yes || !term.IsTerminal(int(os.Stdin.Fd())) || r.CI != "" {
		return nil
	}
	fmt.Fprintf(os.Stderr, "Delete %d objects of %s? [y/N] ", plan.Before.Objects-plan.After.Objects, plan.Mirror)
	answer, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return errNo
	}
	return nil
}

// showPlan writes what goes, by reason and package, and what a person should
// know.
func (r janitorRun) showPlan(plan janitor.Plan, path string) error {
	type group struct{ reason, name string }
	specs, objects, bytes := map[group]int{}, map[group]int{}, map[group]int64{}
	for g := range plan.Going() {
		specs[group{g.Reason, g.Name}]++
	}
	for d := range plan.Deletions() {
		name, _, _ := strings.Cut(d.Spec, "@")
		g := group{d.Reason, cmp.Or(name, plural(d.Kind))}
		objects[g]++
		bytes[g] += d.Size
	}
	groups := slices.SortedFunc(maps.Keys(objects), func(a, b group) int {
		return cmp.Or(cmp.Compare(a.reason, b.reason), cmp.Compare(bytes[b], bytes[a]), cmp.Compare(a.name, b.name))
	})
	var rows [][]string
	for _, g := range groups {
		rows = append(rows, []string{g.reason, g.name, strconv.Itoa(specs[g]), strconv.Itoa(objects[g]), ui.Size(bytes[g])})
	}
	if len(rows) > 0 {
		if err := r.Table([]string{"goes because", "package", "specs", "objects", "size"}, rows); err != nil {
			return err
		}
	}
	for _, d := range plan.Damage {
		r.Log.Warn("damaged", "spec", d.Spec, "key", d.Key, "what", d.What)
	}
	for _, n := range plan.Notes {
		r.Log.Warn(n)
	}
	for _, m := range plan.Mend {
		r.Log.Info("to be mended: " + m)
	}
	what := "goes"
	if plan.Empty() {
		what = "nothing to do: goes"
	}
	r.Log.Info(what, "specs", of(plan.Before.Specs-plan.After.Specs, plan.Before.Specs), "objects", of(plan.Before.Objects-plan.After.Objects, plan.Before.Objects),
		"size", ui.Size(plan.Before.Bytes-plan.After.Bytes)+" of "+ui.Size(plan.Before.Bytes), "plan", path)
	return nil
}

// plural is what a table calls objects that belong to no spec.
func plural(k janitor.Kind) string {
	if k == janitor.Own {
		return "janitor's notes"
	}
	return k.String() + "s"
}

func of(n, all int) string { return fmt.Sprintf("%d of %d", n, all) }

// show writes a result for machines.
func (r janitorRun) show(v any) error {
	if !r.json {
		return nil
	}
	return r.JSON(v)
}

func (r janitorRun) why(ctx context.Context, m *mirrorStore, roots janitor.Roots, policy janitor.Policy, pin janitor.Pin) error {
	s, err := m.scan(ctx, roots.Locks)
	if err != nil {
		return err
	}
	plan, err := janitor.NewPlan(s, roots, policy, time.Now())
	if err != nil {
		return err
	}
	answers, err := plan.Why(s, pin)
	if err != nil {
		return nearName(err, string(pin), s)
	}
	if r.json {
		return r.JSON(answers)
	}
	for _, a := range answers {
		if err := r.Print("%s", a); err != nil {
			return err
		}
	}
	return nil
}

func (r janitorRun) verify(ctx context.Context, m *mirrorStore, deep bool, keyFiles string) error {
	s, err := m.scan(ctx, nil)
	if err != nil {
		return err
	}
	found := janitor.Verify(s)
	if deep {
		var keys *buildcache.Keyring
		if keyFiles != "" {
			if keys, err = readKeys(keyFiles); err != nil {
				return err
			}
		}
		if found, err = janitor.VerifyDeep(ctx, m.Store, s, keys, parallel()); err != nil {
			return err
		}
	}
	if err := r.showFindings(found); err != nil {
		return err
	}
	if !found.Sound() {
		return errors.New("the cache is not sound")
	}
	return nil
}

func (r janitorRun) showFindings(f janitor.Findings) error {
	if r.json {
		return r.JSON(f)
	}
	var rows [][]string
	for _, d := range f.Damage {
		rows = append(rows, []string{"damaged", cmp.Or(d.Spec, d.Key), d.What})
	}
	add := func(what, text string, all []string) {
		for _, s := range all {
			rows = append(rows, []string{what, s, text})
		}
	}
	add("not signed", "see --key", f.Signed)
	add("not indexed", "in no index: run spack buildcache update-index, or janitor:reindex", f.Unlisted)
	add("incomplete", "a runtime dependency is not in the cache", f.Open)
	add("orphan", "nothing refers to it: the next prune takes it", f.Orphans)
	if f.Stale {
		rows = append(rows, []string{"stale", "build_cache/index.json.hash", "clients keep their old index: the next prune mends it"})
	}
	r.Log.Info("verified", "sound", f.Sound(), "orphans", len(f.Orphans), "objects read", f.Checked)
	if len(rows) == 0 {
		return nil
	}
	return r.Table([]string{"what", "where", "why"}, rows)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
