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
	kept := map[string]Kept{}
	for _, k := range p.Keep {
		kept[string(k.Hash)] = k
	}
	going := map[string]Going{}
	for _, g := range p.Going {
		going[string(g.Hash)] = g
	}
	var answers []Answer
	for _, spec := range s.match(pin) {
		a := Answer{Spec: spec.String(), Hash: string(spec.Hash)}
		if k, ok := kept[a.Hash]; ok {
			a.Stays, a.Rule, a.Chain = true, k.Rule, k.Chain
		} else if g, ok := going[a.Hash]; ok {
			a.Rule, a.Needs = g.Reason, g.Needs
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
