package janitor

import (
	"fmt"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/janitor/rootset"
)

// An Answer says what a plan does with a spec, and why.
type Answer struct {
	Spec  string   `json:"spec"`
	Hash  string   `json:"hash"`
	State string   `json:"state"`           // live, or that of a Condemned
	Rule  string   `json:"rule"`            // that keeps it, or the reason for which it is condemned
	Chain []string `json:"chain,omitempty"` // from what the rule names to the spec
	Condemned
}

// Why explains what a plan does with the specs that a pin names. One that was
// deleted in the last 30 days is named by its hash.
func (p *Plan) Why(pin rootset.Pin) ([]Answer, error) {
	s := p.look.scan
	var answers []Answer
	for _, at := range match(s, pin) {
		a := Answer{Spec: s.DAG.Text(at), Hash: string(s.DAG.Hash(at)), State: live.String()}
		if !p.condemned(at) {
			a.Rule, a.Chain = keepYoung, []string{a.Spec}
			if p.marks.has(at) {
				a.Rule, a.Chain = p.marks.chain(at)
			}
		} else {
			a.Condemned = p.spec(at)
			a.State, a.Rule = a.Condemned.State, a.Reason
		}
		answers = append(answers, a)
	}
	for _, t := range p.room.Tombs {
		if at, ok := s.DAG.Lookup(t.Hash); strings.TrimPrefix(string(pin), "/") == string(t.Hash) && !(ok && s.Present.Has(at)) {
			when, _ := p.room.When(t.Run)
			answers = append(answers, Answer{Spec: "/" + string(t.Hash), Hash: string(t.Hash), State: "deleted", Rule: "by the run of " + when.Ours.Format(time.DateOnly)})
		}
	}
	if len(answers) == 0 {
		return nil, fmt.Errorf("%q: %w: give a hash, the beginning of one, a name, or name@version", pin, ErrNothingFor)
	}
	return answers, nil
}

// String is the answer as a sentence.
func (a Answer) String() string {
	day := func(t time.Time) string { return t.Format(time.DateOnly) }
	why := a.Rule
	if a.Needs != "" {
		why = "it needs " + a.Needs + ", which is condemned"
	}
	switch a.State {
	case live.String():
		return a.Spec + " stays: " + a.Rule + " → " + strings.Join(a.Chain, " → ")
	case fresh.String():
		return fmt.Sprintf("%s would be condemned: %s; the next prune says so in the mirror, and it goes from %s on", a.Spec, why, day(a.Due))
	case refused.String():
		return a.Spec + " would be condemned, but the brake keeps it: " + why
	case holding.String():
		return fmt.Sprintf("%s is condemned since %s: %s; it has waited, and is held by %s", a.Spec, day(a.Since), why, a.HeldBy)
	case due.String():
		return fmt.Sprintf("%s is condemned since %s: %s; the next prune deletes it", a.Spec, day(a.Since), why)
	case waiting.String():
		return fmt.Sprintf("%s is condemned since %s: %s; it goes from %s on", a.Spec, day(a.Since), why, day(a.Due))
	}
	return a.Spec + " was deleted " + a.Rule
}
