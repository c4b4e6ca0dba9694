package targets

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/openbraininstitute/spacktainers/internal/yamlstrict"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
)

// JanitorRules are the defaults of the janitor's flags.
type JanitorRules struct {
	Roots       JanitorRoots  `yaml:"roots"`
	Pins        []rootset.Pin `yaml:"pins"`
	MaxAge      Duration      `yaml:"max_age"`
	Grace       Duration      `yaml:"grace"`
	Wait        Duration      `yaml:"wait"` // what is condemned is deleted after it
	KeepLast    int           `yaml:"keep_last"`
	TargetSize  Bytes         `yaml:"target_size"` // no more is condemned than brings a mirror down to this; 0: no such rule
	HalfLife    Duration      `yaml:"half_life"`   // of what a target size keeps; 0: age says nothing
	MaxFraction float64       `yaml:"max_fraction"`
	Name        string        `yaml:"name"` // of this repository's root set in the mirrors (default: remote and branch)
}

// MirrorRules are rules of the janitor that hold for one mirror, instead of
// those for all.
type MirrorRules struct {
	MaxAge      *Duration `yaml:"max_age"`
	Grace       *Duration `yaml:"grace"`
	Wait        *Duration `yaml:"wait"`
	KeepLast    *int      `yaml:"keep_last"`
	TargetSize  *Bytes    `yaml:"target_size"`
	MaxFraction *float64  `yaml:"max_fraction"`
}

// over returns the rules for one mirror.
func (m *MirrorRules) over(rules JanitorRules) JanitorRules {
	if m == nil {
		return rules
	}
	rules.MaxAge, rules.Grace, rules.Wait = or(m.MaxAge, rules.MaxAge), or(m.Grace, rules.Grace), or(m.Wait, rules.Wait)
	rules.KeepLast, rules.MaxFraction = or(m.KeepLast, rules.KeepLast), or(m.MaxFraction, rules.MaxFraction)
	rules.TargetSize = or(m.TargetSize, rules.TargetSize)
	return rules
}

// JanitorRoots are what must stay in the build caches.
type JanitorRoots struct {
	Locks  []string `yaml:"locks"`  // lockfiles: paths, globs, or folders that hold some
	Images []string `yaml:"images"` // repositories, of whose images the lockfiles count
}

// A Duration is a time.Duration that is also read and written in days: 90d.
type Duration time.Duration

func (d *Duration) UnmarshalYAML(node *yaml.Node) error {
	parsed, err := parseDuration(node.Value)
	*d = Duration(parsed)
	return err
}

// parseDuration reads 90d, 48h, 90m or 0.
func parseDuration(text string) (time.Duration, error) {
	days, isDays := strings.CutSuffix(text, "d")
	if n, err := strconv.ParseFloat(days, 64); isDays && err == nil && n >= 0 {
		if n *= float64(24 * time.Hour); n >= math.MaxInt64 {
			return 0, fmt.Errorf("%q is too long: %dd is the longest", text, math.MaxInt64/(24*time.Hour))
		}
		return time.Duration(n), nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is no duration: write 90d, 48h or 30m", text)
	}
	return d, nil
}

// check finds mistakes in the rules that stand at a place of the file.
func (r JanitorRules) check(data []byte, place []string, fail func(at *yaml.Node, format string, args ...any)) {
	wrong := func(key, format string, args ...any) {
		_, at := yamlstrict.Find(data, append(slices.Clone(place), key)...)
		fail(at, key+" is "+format, args...)
	}
	if f := r.MaxFraction; !(f >= 0 && f <= 1) { // so that NaN is refused too
		wrong("max_fraction", "%v, want 0 to 1", f)
	}
	if r.KeepLast < 0 {
		wrong("keep_last", "%d, want 0 or more", r.KeepLast)
	}
	if w := time.Duration(r.Wait); w < 24*time.Hour {
		wrong("wait", "%s, want 1d or more: --wait takes less for one run", w)
	}
}
