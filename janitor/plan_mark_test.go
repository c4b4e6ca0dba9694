package janitor

import (
	"fmt"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor/dag"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// Rules that come again and again, such as dates of uses, count once each.
func TestRulesAreToldApart(t *testing.T) {
	const specs, dates = 70_000, 300
	d := dag.New()
	for i := range specs {
		text := []byte(strings.Repeat("a", 32))
		for at, n := 31, i; n > 0; at, n = at-1, n/26 {
			text[at] = byte('a' + n%26)
		}
		d.Intern(buildcache.Hash(text))
	}
	m := newMarks(&scan.Scan{DAG: d}, rootset.Everything)
	for i := range specs {
		m.keep(fmt.Sprintf("used on day %d", i%dates), dag.ID(i))
	}
	for i := range specs {
		if rule, chain := m.chain(dag.ID(i)); rule != fmt.Sprintf("used on day %d", i%dates) || len(chain) != 1 {
			t.Fatalf("spec %d: %s, %v", i, rule, chain)
		}
	}
	if len(m.rules) != dates+1 {
		t.Errorf("%d rules, want %d", len(m.rules), dates)
	}
}
