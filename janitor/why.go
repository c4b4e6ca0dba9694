package janitor

import (
	"fmt"
	"strings"
)

// An Answer says what a plan does with a spec, and why.
type Answer struct {
	Spec  string   `json:"spec"`
	Hash  string   `json:"hash"`
	Stays bool     `json:"stays"`
	Rule  string   `json:"rule"`            // that keeps it, or the reason for which it goes
	Chain []string `json:"chain,omitempty"` // from what the rule names to the spec
	Needs string   `json:"needs,omitempty"` // what goes that it needs
}

// Why explains what a plan does with the specs that a pin names.
func (p Plan) Why(s *Scan, pin Pin) ([]Answer, error) {
	var answers []Answer
	for _, at := range s.match(pin) {
		a := Answer{Spec: s.dag.text(at), Hash: string(s.dag.hash(at)), Stays: !p.goes(at)}
		switch needs, ok := p.needs[at]; {
		case a.Stays && p.marks.has(at):
			a.Rule, a.Chain = p.marks.chain(at)
		case a.Stays:
			a.Rule, a.Chain = keepYoung, []string{a.Spec}
		case ok:
			a.Needs = s.dag.text(needs)
			fallthrough
		default:
			a.Rule = p.why[at].String()
		}
		answers = append(answers, a)
	}
	if len(answers) == 0 {
		return nil, fmt.Errorf("%q: %w: give a hash, the beginning of one, a name, or name@version", pin, ErrNothingFor)
	}
	return answers, nil
}

// String is the answer as a sentence.
func (a Answer) String() string {
	switch {
	case a.Stays:
		return a.Spec + " stays: " + a.Rule + " → " + strings.Join(a.Chain, " → ")
	case a.Needs != "":
		return a.Spec + " goes: it needs " + a.Needs + ", which goes"
	}
	return a.Spec + " goes: " + a.Rule
}
