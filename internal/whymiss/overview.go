package whymiss

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A Source is a container whose packages are looked for in build caches.
type Source struct {
	Name string
	Lock func() (*buildcache.Lockfile, error) // read when it is looked at: many together are big
}

// An Overview says of many containers what would be built, in so many words as one page holds.
type Overview struct {
	Problem   string  `json:"problem,omitempty"` // why nothing can be said
	Whole     int     `json:"whole"`             // containers of which everything is cached
	Built     []Built `json:"built"`             // of which something would be built, that with most first
	More      int     `json:"more"`              // of these, how many are not in Built
	Elsewhere int     `json:"elsewhere"`         // containers of platforms that were not asked for
}

// A Built is a container of which packages would be built. Containers of the same roots are one.
type Built struct {
	Names   []string  `json:"names"`
	More    int       `json:"more_names"`
	Missing int       `json:"missing"`
	Cached  int       `json:"cached"`
	Causes  []Summary `json:"causes"`
	Others  int       `json:"more_causes"`
}

// A Summary is a cause as a reader sees it.
type Summary struct {
	Text        string       `json:"text"`  // its sentence
	Specs       [][2]string  `json:"specs"` // the first that differ themselves, each with the nearest cached one or ""
	Differences []Difference `json:"differences"`
}

// What an overview has at most.
const (
	mostBuilt   = 40
	mostNames   = 8
	mostCauses  = 12
	mostSpecs   = 12
	mostBytes   = 500 // of a sentence, a name or a value that differs
	mostLookups = 100 // listings to find out when a nearest spec was uploaded
)

// Look says what would be built of each container, from the index of build caches; stores say when
// the nearest specs were uploaded. Containers of other platforms than these are passed over, unless
// none is given. It reads lockfiles one after the other.
func Look(ctx context.Context, sources []Source, platforms []string, cached *Index, stores []buildcache.Store) (Overview, error) {
	o := Overview{Built: []Built{}}
	type container struct {
		Source
		Built
	}
	var incomplete []*container
	known := map[string]*container{} // by the roots' hashes; nil: everything is cached
	for _, s := range sources {
		if err := ctx.Err(); err != nil {
			return o, err
		}
		lock, err := s.Lock()
		if err != nil {
			return o, fmt.Errorf("%s: %w", s.Name, err)
		}
		if len(platforms) > 0 && !slices.Contains(platforms, platformOf(lock)) {
			o.Elsewhere++
			continue
		}
		key := rootKey(lock)
		c, again := known[key]
		if !again {
			missing, hits := (&explainer{lock: lock, cached: cached}).walk()
			if len(missing) > 0 {
				c = &container{Source: s, Built: Built{Missing: len(missing), Cached: hits}}
				incomplete = append(incomplete, c)
			}
			known[key] = c
		}
		switch {
		case c == nil:
			o.Whole++
		case len(c.Names) < mostNames:
			c.Names = append(c.Names, s.Name)
		default:
			c.Built.More++
		}
	}
	slices.SortStableFunc(incomplete, func(a, b *container) int { return cmp.Compare(b.Missing, a.Missing) })
	dates := dates{stores: stores, left: mostLookups}
	for _, c := range incomplete[:min(mostBuilt, len(incomplete))] {
		if err := ctx.Err(); err != nil {
			return o, err
		}
		lock, err := c.Lock()
		if err != nil {
			return o, fmt.Errorf("%s: %w", c.Name, err)
		}
		report, err := Explain(lock, cached)
		if err != nil {
			return o, fmt.Errorf("%s: %w", c.Name, err)
		}
		shown := report.Causes[:min(mostCauses, len(report.Causes))]
		dates.fill(ctx, shown)
		for _, cause := range shown {
			c.Causes = append(c.Causes, cause.summary())
		}
		c.Others = len(report.Causes) - len(shown)
		o.Built = append(o.Built, c.Built)
	}
	o.More = len(incomplete) - len(o.Built)
	return o, nil
}

// rootKey is the same for lockfiles that install the same.
func rootKey(lock *buildcache.Lockfile) string {
	roots := map[string]bool{}
	for _, r := range lock.Roots {
		roots[string(r.Hash)] = true
	}
	return strings.Join(slices.Sorted(maps.Keys(roots)), " ")
}

// platformOf is what the specs of a lockfile run on.
func platformOf(lock *buildcache.Lockfile) string {
	for _, r := range lock.Roots {
		return "linux/" + buildcache.Architecture(lock.Specs[r.Hash].Target)
	}
	return ""
}

func (c Cause) summary() Summary {
	s := Summary{Text: short(c.String()), Specs: [][2]string{}, Differences: []Difference{}}
	for i, spec := range c.Specs[:min(mostSpecs, len(c.Specs))] {
		pair := [2]string{short(spec)}
		if i < len(c.Nearest) {
			pair[1] = short(c.Nearest[i].Spec)
		}
		s.Specs = append(s.Specs, pair)
	}
	for _, d := range c.Differences[:min(mostSpecs, len(c.Differences))] {
		d.What, d.Wanted, d.Cached = short(d.What), short(d.Wanted), short(d.Cached)
		s.Differences = append(s.Differences, d)
	}
	return s
}

// short cuts what is too long for a page.
func short(value string) string {
	if len(value) <= mostBytes {
		return value
	}
	return strings.ToValidUTF8(value[:mostBytes], "") + "…"
}
