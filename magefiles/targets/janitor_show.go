package targets

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/ui"
	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

var errNo = errors.New("not confirmed: nothing was changed")

// confirm asks at a terminal, if anything is deleted.
func (r janitorRun) confirm(ctx context.Context, plan *janitor.Plan) error {
	if r.yes || plan.Due.Objects == 0 || !term.IsTerminal(int(os.Stdin.Fd())) || r.CI != "" {
		return nil
	}
	fmt.Fprintf(os.Stderr, "Delete %d objects of %s? [y/N] ", plan.Due.Objects, plan.Mirror)
	answer, err := readLine(ctx, os.Stdin)
	if err != nil {
		return err
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return errNo
	}
	return nil
}

// readLine reads what a person types. Nothing ends a read from a terminal: where the context ends
// first, the read goes on until we end.
func readLine(ctx context.Context, from io.Reader) (string, error) {
	typed := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(from).ReadString('\n') // whoever closes it has not said yes
		typed <- line
	}()
	select {
	case line := <-typed:
		return line, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// showPlan writes what is condemned, how far it is, and what a person should
// know.
func (r janitorRun) showPlan(plan *janitor.Plan, path string) error {
	days, err := r.showCondemned(plan)
	if err != nil {
		return err
	}
	if plan.Target != nil {
		r.Log.Info("target size: " + plan.Target.String())
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
	for _, day := range sortedKeys(days) {
		r.Log.Info("nothing of this is freed yet", "from", day, "size", ui.Size(days[day]))
	}
	if plan.Brake != "" {
		r.Log.Error("nothing new is condemned: " + plan.Brake)
	}
	what := "goes now"
	if plan.Empty() {
		what = "nothing to do: goes now"
	}
	r.Log.Info(what, "specs", of(plan.Due.Specs, plan.Before.Specs), "objects", of(plan.Due.Objects, plan.Before.Objects),
		"size", ui.Size(plan.Due.Bytes)+" of "+ui.Size(plan.Before.Bytes), "condemned", of(plan.Room.Specs, plan.Before.Specs), "plan", path)
	return nil
}

// showCondemned writes the table of a plan, and returns how many bytes may go on which day.
func (r janitorRun) showCondemned(plan *janitor.Plan) (map[string]int64, error) {
	type group struct{ state, when, reason, name string }
	counts, bytes, builds := map[group]int{}, map[group]int64{}, map[group]buildTime{}
	days := map[string]int64{} // by the day on which it may go
	add := func(c janitor.Condemned, name string) {
		g := group{c.State, "", c.Reason, name}
		switch c.State {
		case "condemn", "waiting":
			g.when = c.Due.Format(time.DateOnly)
			days[g.when] += c.Bytes
		case "held":
			g.when = "by " + c.HeldBy
		case "back":
			g.when = "since " + c.Since.Format(time.DateOnly)
		}
		counts[g]++
		bytes[g] += c.Bytes
		builds[g] = builds[g].plus(c)
	}
	for c := range plan.Specs() {
		add(c, c.Name)
	}
	for c := range plan.Orphans() {
		name := "blobs"
		if strings.HasSuffix(c.Key, ".spack") {
			name = "tarballs"
		}
		add(c, name)
	}
	groups := slices.SortedFunc(maps.Keys(counts), func(a, b group) int {
		return cmp.Or(cmp.Compare(a.state, b.state), cmp.Compare(a.when, b.when), cmp.Compare(a.reason, b.reason), cmp.Compare(bytes[b], bytes[a]), cmp.Compare(a.name, b.name))
	})
	var rows [][]string
	for _, g := range groups {
		row := []string{g.state, g.when, g.reason, g.name, strconv.Itoa(counts[g]), ui.Size(bytes[g])}
		if plan.Target != nil {
			row = append(row, builds[g].String())
		}
		rows = append(rows, row)
	}
	if len(rows) > 0 {
		header := []string{"state", "when", "because", "package", "number", "size"}
		if plan.Target != nil {
			header = append(header, "to build again")
		}
		return days, r.Table(header, rows)
	}
	return days, nil
}

func of(n, all int) string { return fmt.Sprintf("%d of %d", n, all) }

// show writes a result for machines.
func (r janitorRun) show(v any) error {
	if !r.json {
		return nil
	}
	return r.JSON(v)
}

// An explained mirror is what janitor:why says of it to machines.
type explained struct {
	Mirror  string           `json:"mirror"`
	Answers []janitor.Answer `json:"answers"`
}

// A verified mirror is what janitor:verify says of it to machines.
type verified struct {
	Mirror string `json:"mirror"`
	janitor.Findings
}

func (r janitorRun) why(ctx context.Context, m *mirrorStore, pin rootset.Pin) error {
	j, err := r.janitor(m)
	if err != nil {
		return err
	}
	j.Repository = r.repository(ctx)
	plan, err := j.Plan(ctx)
	if err != nil {
		return err
	}
	answers, err := plan.Why(pin)
	if err != nil {
		return nearName(err, string(pin), plan)
	}
	if r.json {
		return r.JSON(explained{m.url, answers})
	}
	for _, a := range answers {
		if err := r.Print("%s", a); err != nil {
			return err
		}
	}
	return nil
}

func (r janitorRun) verify(ctx context.Context, m *mirrorStore, deep bool, keyFiles string) error {
	s, err := scan.New(ctx, m.Store, m.scan())
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
		if found, err = janitor.VerifyDeep(ctx, m.Store, s, keys, scan.Options{Parallel: parallel(), Watch: m.watch}); err != nil {
			return err
		}
	}
	m.still()
	if err := found.Blame(ctx, m.Store, m.name, s); err != nil {
		return err
	}
	if err := r.showFindings(m, found); err != nil {
		return err
	}
	if !found.Sound() {
		return errors.New("the cache is not sound")
	}
	return nil
}

func (r janitorRun) showFindings(m *mirrorStore, f janitor.Findings) error {
	if r.json {
		return r.JSON(verified{m.url, f})
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
	add("orphan", "nothing refers to it: prune condemns it", f.Orphans)
	add("not known", "could be a part of a package in a form that is not known here: it is kept", f.Unknown)
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
