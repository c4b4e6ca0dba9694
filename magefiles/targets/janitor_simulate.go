package targets

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/ui"
	"github.com/openbraininstitute/spacktainers/janitor/history"
	"github.com/openbraininstitute/spacktainers/janitor/simulate"
)

// Simulate says what policies of the janitor would have done: it replays a history against each, and
// compares how big the build cache would have been, and what would have been built again because it
// had been deleted. It changes nothing.
func (Janitor) Simulate(ctx context.Context,
	policy *string, // what goes first, by commas: nothing, all, cheap, oldest, unused, biggest (default: all of them)
	targetSize *string, // --target-size: size down to which policies delete, but for nothing and all, as 500GB (default: half of what nothing comes to)
	halfLife *string, // --half-life: cheap once more, where what is older by this is half as likely to be needed again, as 60d
	history *string, // git (default): the lockfiles that this repository has had; uploads: when specs came into --mirror; generated
	lock *string, // with a generated history: lockfiles to begin with, by commas (default: those beside the definitions)
	mirror *string, // build cache that says how big packages are and how long they took to build (default: guessed by name)
	weeks *int, // of a generated history (default: 52)
	perWeek *int, // --per-week: builds in a week of a generated history, on average (default: 5)
	seed *int, // of a generated history (default: 1)
	every *string, // time from one run of the janitor to the next, as 7d
	maxAge *string, // --max-age: younger specs stay, as 90d (default: 0, as all policies would differ less)
	grace *string, // whatever is younger stays, as 48h
	wait *string, // time from condemning to deleting, as 6d
	keepLast *int, // --keep-last: newest versions of each package that stay (default: 0, as for --max-age); pins of the configuration stay, too
	json *bool, // for machines, with the size after each run
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	s := simulation{janitorRun: janitorRun{app: a, json: or(json, false)}}
	if err := s.rules(policy, targetSize, halfLife, every, maxAge, grace, wait, or(keepLast, 0)); err != nil {
		return err
	}
	how := generatedHistory(weeks, perWeek, seed)
	if how.Weeks < 1 || how.Weeks > 520 || how.PerWeek < 1 || how.PerWeek > 1000 {
		return wrongCall("a generated history has 1 to 520 weeks, and 1 to 1000 builds in each: got --weeks=%d --per-week=%d", how.Weeks, how.PerWeek)
	}
	h, err := s.history(ctx, or(history, "git"), mirror, lock, how)
	if err != nil {
		return err
	}
	return s.run(h)
}

func generatedHistory(weeks, perWeek, seed *int) history.Generated {
	return history.Generated{Seed: uint64(or(seed, 1)), Start: time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC), Weeks: or(weeks, 52), PerWeek: or(perWeek, 5)}
}

// A simulation is one call of janitor:simulate.
type simulation struct {
	janitorRun
	policies []simulate.Policy
	target   int64 // 0: half of what nothing comes to
}

// rules reads which policies are compared.
func (s *simulation) rules(policy, targetSize, halfLife, every, maxAge, grace, wait *string, keepLast int) (err error) {
	like := simulate.Policy{KeepLast: keepLast, Pins: s.config.Janitor.Pins}
	rules := s.config.Janitor
	like.Every, err = durationOr(err, "every", every, Duration(7*24*time.Hour))
	like.MaxAge, err = durationOr(err, "max-age", maxAge, 0)
	like.Grace, err = durationOr(err, "grace", grace, rules.Grace)
	like.Wait, err = durationOr(err, "wait", wait, rules.Wait)
	half, err := durationOr(err, "half-life", halfLife, 0)
	if err != nil {
		return err
	}
	if like.Every < time.Hour {
		return wrongCall("--every is %s: a janitor runs once an hour at most", like.Every)
	}
	if keepLast < 0 {
		return wrongCall("--keep-last is %d, want 0 or more", keepLast)
	}
	if s.target = int64(rules.TargetSize); targetSize != nil {
		if s.target, err = parseBytes(*targetSize); err != nil {
			return callError{fmt.Errorf("--target-size: %w", err)}
		}
	}
	for _, name := range listOr(policy, simulate.Orders) {
		order, err := simulate.ParseOrder(name)
		if err != nil {
			return unknown("policy", name, simulate.Orders)
		}
		p := like
		p.Order = order
		s.policies = append(s.policies, p)
		if order == simulate.Cheap && half > 0 {
			p.HalfLife = half
			s.policies = append(s.policies, p)
		}
	}
	return nil
}

// simulated is what the simulation says to machines.
type simulated struct {
	Specs     int               `json:"specs"`
	Estimated int               `json:"estimated"` // specs of which the time to build is a guess
	Events    int               `json:"events"`
	From      time.Time         `json:"from"`
	To        time.Time         `json:"to"`
	Target    int64             `json:"target_size"`
	Results   []simulate.Result `json:"results"`
}

func (s *simulation) run(h history.History) error {
	if len(h.Events) == 0 {
		return fmt.Errorf("the history is empty: no lockfile was ever committed here that can be read; make one up with --history=generated")
	}
	out := simulated{Specs: len(h.Specs), Events: len(h.Events), From: h.Events[0].At, To: h.Events[len(h.Events)-1].At, Target: s.target}
	for _, spec := range h.Specs {
		if spec.Estimated {
			out.Estimated++
		}
	}
	if out.Target == 0 {
		all, err := simulate.Run(&h, simulate.Policy{Order: simulate.Nothing, Every: s.policies[0].Every})
		if err != nil {
			return err
		}
		out.Target = all.Last / 2
	}
	for _, p := range s.policies {
		p.Target = out.Target
		result, err := simulate.Run(&h, p)
		if err != nil {
			return err
		}
		out.Results = append(out.Results, result)
	}
	if s.json {
		return s.app.JSON(out)
	}
	s.Log.Info("history", "specs", out.Specs, "of estimated time", out.Estimated, "builds", out.Events, "from", out.From.Format(time.DateOnly),
		"to", out.To.Format(time.DateOnly), "target size", ui.Size(out.Target))
	return s.showSimulated(out.Results)
}

func (s *simulation) showSimulated(results []simulate.Result) error {
	minutes := func(seconds float64) string { return fmt.Sprintf("%.0f min", seconds/60) }
	var rows [][]string
	sizes := []string{"size on"}
	for _, r := range results {
		rows = append(rows, []string{r.Policy, ui.Size(r.Mean), ui.Size(r.Most), ui.Size(r.Last), strconv.Itoa(r.Deleted), strconv.Itoa(r.Again),
			minutes(r.AgainSeconds), minutes(r.BuiltSeconds)})
		sizes = append(sizes, r.Policy)
	}
	if err := s.Table([]string{"first goes", "mean size", "most", "at the end", "deleted", "built again", "taking", "of all"}, rows); err != nil {
		return err
	}
	rows = nil
	for i, at := range results[0].Sizes { // of each month the last run; all policies have the same runs
		if next := i + 1; next < len(results[0].Sizes) && results[0].Sizes[next].At.Month() == at.At.Month() {
			continue
		}
		row := []string{at.At.Format(time.DateOnly)}
		for _, r := range results {
			row = append(row, ui.Size(r.Sizes[i].Bytes))
		}
		rows = append(rows, row)
	}
	return s.Table(sizes, rows)
}
