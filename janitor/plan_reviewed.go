package janitor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor/clock"
	"github.com/openbraininstitute/spacktainers/janitor/dag"
	"github.com/openbraininstitute/spacktainers/janitor/room"
)

// A Reviewed plan is one that was written down, and read again.
type Reviewed struct {
	Head
	Specs   []Condemned `json:"specs"`
	Orphans []Condemned `json:"orphans"`
}

// planMaxAge is how old a plan may be.
const planMaxAge = 24 * time.Hour

// ReadPlan reads what WriteJSON has written.
func ReadPlan(r io.Reader) (*Reviewed, error) {
	var p Reviewed
	var other *json.UnmarshalTypeError
	err := json.NewDecoder(r).Decode(&p)
	if err != nil && !errors.As(err, &other) {
		return nil, fmt.Errorf("%w: it is no whole plan: %w", buildcache.ErrFormat, err)
	}
	if err != nil || p.Run == "" || p.Made.IsZero() {
		return nil, fmt.Errorf("%w: it is no plan", buildcache.ErrFormat)
	}
	return &p, nil
}

// PlanReviewed makes a plan of what both a reviewed plan and a new one name,
// with roots that are read again. The rules are those of the reviewed plan.
func (j Janitor) PlanReviewed(ctx context.Context, p *Reviewed) (*Plan, error) {
	j = j.ready()
	oldest := j.Policy.PlanMaxAge
	if oldest == 0 {
		oldest = planMaxAge
	}
	switch age := j.Now().Sub(p.Made); {
	case p.Refused != "":
		return nil, fmt.Errorf("plan %s: %w: %s", p.Run, ErrRefused, strings.TrimPrefix(p.Refused, ErrRefused.Error()+": "))
	case slices.ContainsFunc(p.Specs, func(c Condemned) bool { return c.Reason == room.Purged.String() }):
		return nil, fmt.Errorf("plan %s: %w: it is of a purge, which only janitor:purge carries out", p.Run, ErrRefused)
	case p.Mirror != j.Mirror:
		return nil, fmt.Errorf("plan %s: %w: it is for the mirror %s, not for %s", p.Run, ErrRefused, p.Mirror, j.Mirror)
	case age < -clock.MaxJump: // it would not age for as long
		return nil, fmt.Errorf("plan %s: %w: it is of %s, which is yet to come: check the clock here, or make a new one", p.Run, ErrRefused, p.Made.Format(time.RFC3339))
	case age > oldest:
		return nil, fmt.Errorf("plan %s: %w: it is %s old, and --plan-max-age is %s: make a new one", p.Run, ErrRefused, age.Round(time.Second), oldest)
	}
	rules := p.Policy
	rules.Packages, rules.Uses, rules.PlanMaxAge = j.Policy.Packages, j.Policy.Uses, j.Policy.PlanMaxAge
	if rules.UsedSince > 0 && len(rules.Uses) == 0 {
		rules.UsedSince = 0 // the plan has left out what was used, and nothing more goes than it names
	}
	j.Policy = rules
	specs, keys := map[buildcache.Hash]bool{}, map[string]bool{}
	for _, c := range p.Specs {
		specs[c.Hash] = c.State == due.String()
	}
	for _, c := range p.Orphans {
		keys[c.Key] = c.State == due.String()
	}
	q, err := j.plan(ctx, nil, limits{})
	if err != nil {
		return q, err
	}
	d := q.look.scan.DAG
	return j.decide(q.look, q.room, nil, limits{
		spec: func(at dag.ID, isDue bool) bool { may, ok := specs[d.Hash(at)]; return ok && (may || !isDue) },
		key:  func(key string, isDue bool) bool { may, ok := keys[key]; return ok && (may || !isDue) },
	})
}
