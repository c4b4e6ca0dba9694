package janitor

import (
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor/dag"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// A Picture is each spec of a mirror with what it takes and what becomes of it, in columns: number i
// of every list is that of spec i. It is what a page draws, and small enough for 100 000 specs.
type Picture struct {
	Packages []string `json:"packages"` // names
	Versions []string `json:"versions"`
	Rules    []string `json:"rules"` // that keep specs, or for which they are condemned; the first one is none

	Package  []int             `json:"package"` // number in Packages
	Version  []int             `json:"version"` // number in Versions
	Hash     []buildcache.Hash `json:"hash"`
	Bytes    []int64           `json:"bytes"`    // blobs that specs share count for each of them; -1: it is not in the cache
	Uploaded []int64           `json:"uploaded"` // days since 1970
	State    []int             `json:"state"`    // number in PictureStates
	Rule     []int             `json:"rule"`     // number in Rules
	From     []int             `json:"from"`     // the spec by which the rule leads here, or which goes and is needed, + 1; 0: none
	Due      []int64           `json:"due"`      // days since 1970; 0: it does not go
}

// PictureStates are the states of specs in a picture: not known without a plan, or as those of
// a Condemned.
var PictureStates = []string{"unknown", "live", "condemn", "refused", "waiting", "held", "due"}

// PictureOf shows what was scanned; what becomes of it is not known.
func PictureOf(s *scan.Scan) Picture {
	b := newPictureBuilder(s)
	for at := range s.InCache() {
		b.add(at)
	}
	return b.Picture
}

// Picture shows the mirror as the plan has seen it, and what becomes of each spec.
func (p *Plan) Picture() Picture {
	s := p.look.scan
	b := newPictureBuilder(s)
	for at := range s.InCache() {
		b.add(at)
	}
	// Chains may lead through specs that no build has uploaded: these are added behind the others.
	for i := 0; i < len(b.ids); i++ {
		p.tell(b, i)
	}
	return b.Picture
}

// tell says what becomes of spec number i of a picture.
func (p *Plan) tell(b *pictureBuilder, i int) {
	at := b.ids[i]
	if p.condemned(at) {
		c := p.spec(at)
		b.State[i] = int(p.state[at]) + 1
		b.Rule[i] = b.number(&b.Rules, b.rules, c.Reason)
		if n, ok := p.needs[at]; ok {
			b.From[i] = b.add(n) + 1
		}
		if !c.Due.IsZero() {
			b.Due[i] = days(c.Due)
		}
		return
	}
	b.State[i] = int(live) + 1
	switch {
	case p.marks == nil || !p.marks.has(at):
		b.Rule[i] = b.number(&b.Rules, b.rules, keepYoung)
	default:
		b.Rule[i] = b.number(&b.Rules, b.rules, p.marks.rules[p.marks.rule[at]])
		if from := p.marks.from[at]; from != 0 {
			b.From[i] = b.add(from-1) + 1
		}
	}
}

type pictureBuilder struct {
	Picture
	scan                      *scan.Scan
	ids                       []dag.ID
	numbers                   map[dag.ID]int
	packages, versions, rules map[string]int
}

func newPictureBuilder(s *scan.Scan) *pictureBuilder {
	b := &pictureBuilder{Picture: NewPicture(), scan: s, numbers: map[dag.ID]int{}, packages: map[string]int{}, versions: map[string]int{}, rules: map[string]int{}}
	b.number(&b.Rules, b.rules, "")
	return b
}

// add returns the number of a spec, a new one if need be.
func (b *pictureBuilder) add(at dag.ID) int {
	if n, ok := b.numbers[at]; ok {
		return n
	}
	s, n := b.scan, len(b.ids)
	b.numbers[at], b.ids = n, append(b.ids, at)
	b.Package = append(b.Package, b.number(&b.Packages, b.packages, s.DAG.Name(at)))
	b.Version = append(b.Version, b.number(&b.Versions, b.versions, s.DAG.Version(at)))
	b.Hash = append(b.Hash, s.DAG.Hash(at))
	size, uploaded := int64(-1), int64(0)
	if s.Present.Has(at) {
		size, uploaded = 0, days(s.Uploaded(at))
		for _, o := range s.All(at) {
			size += s.Objects.At(o).Size
		}
	}
	b.Bytes, b.Uploaded = append(b.Bytes, size), append(b.Uploaded, uploaded)
	b.State, b.Rule, b.From, b.Due = append(b.State, 0), append(b.Rule, 0), append(b.From, 0), append(b.Due, 0)
	return n
}

// number returns the place of a text in a list, a new one if need be.
func (*pictureBuilder) number(list *[]string, known map[string]int, text string) int {
	n, ok := known[text]
	if !ok {
		n = len(*list)
		known[text], *list = n, append(*list, text)
	}
	return n
}

func days(t time.Time) int64 { return t.Unix() / (24 * 60 * 60) }

// NewPicture returns a picture without specs that has lists for all columns, so that none is null in
// JSON.
func NewPicture() Picture {
	return Picture{
		Packages: []string{}, Versions: []string{}, Rules: []string{}, Package: []int{}, Version: []int{}, Hash: []buildcache.Hash{},
		Bytes: []int64{}, Uploaded: []int64{}, State: []int{}, Rule: []int{}, From: []int{}, Due: []int64{},
	}
}
