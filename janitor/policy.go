package janitor

import (
	"fmt"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
)

// A Policy says what may go. A duration or number of 0 means that there is no
// such rule; the brake and the wait are the exceptions.
type Policy struct {
	Grace       time.Duration `json:"grace"`                 // what is younger stays, orphans too: a build may be pushing it
	Wait        time.Duration `json:"wait"`                  // what is condemned is deleted after it; with 0, in the same run
	MaxAge      time.Duration `json:"max_age,omitempty"`     // what is younger stays; without roots, what is older goes
	UsedSince   time.Duration `json:"used_since,omitempty"`  // what was fetched less long ago stays, by Uses
	KeepLast    int           `json:"keep_last,omitempty"`   // newest versions of each package that stay
	DropBuild   bool          `json:"drop_build,omitempty"`  // what is needed to build only does not stay for that
	NoRoots     bool          `json:"no_roots,omitempty"`    // nothing is needed: go by age alone
	TargetSize  int64         `json:"target_size,omitempty"` // bytes that the mirror may take: no more is condemned than brings it there, the cheapest to build first
	HalfLife    time.Duration `json:"half_life,omitempty"`   // with a target size: what is older by this is half as likely to be needed again; 0: age says nothing
	MaxFraction float64       `json:"max_fraction"`          // condemn no more of the specs or bytes; with 0, nothing
	Raise       float64       `json:"raise,omitempty"`       // MaxFraction of this run only: what it lets through is not asked for again

	EvenIfWritten bool          `json:"even_if_written,omitempty"` // with a wait of 0: though the mirror was written just now
	PlanMaxAge    time.Duration `json:"-"`                         // of a plan that was written down; 0 is 24 h
	CondemnOnly   string        `json:"condemn_only,omitempty"`    // why nothing is deleted
	Hold          string        `json:"hold,omitempty"`            // why nothing is condemned

	// Packages are all that package repositories know; specs of others are
	// stale. Nil is no such rule.
	Packages Packages `json:"-"`

	Uses Uses `json:"-"` // for UsedSince
}

func (y Policy) edges() buildcache.DepTypes {
	if y.DropBuild {
		return buildcache.Runtime
	}
	return rootset.Everything
}

func (y Policy) check() error {
	switch {
	case y.NoRoots && y.MaxAge == 0:
		return fmt.Errorf("%w: without roots and without a max age everything would go: say how old it may get", ErrRefused)
	case y.NoRoots && y.TargetSize > 0:
		return fmt.Errorf("%w: a target size chooses among what no root needs, and there shall be no roots", ErrRefused)
	case y.HalfLife > 0 && y.TargetSize == 0:
		return fmt.Errorf("%w: a half-life is for a target size, and there is none", ErrRefused)
	case y.Packages != nil && len(y.Packages) == 0:
		return fmt.Errorf("%w: the package repositories list nothing, so that every spec would be stale", ErrRefused)
	case y.UsedSince > 0 && len(y.Uses) == 0:
		return fmt.Errorf("%w: what is used shall stay, but no access log says what was", ErrRefused)
	case y.Grace < 0 || y.Wait < 0 || y.MaxAge < 0 || y.UsedSince < 0 || y.KeepLast < 0 || y.TargetSize < 0 || y.HalfLife < 0 || y.MaxFraction < 0 || y.Raise < 0:
		return fmt.Errorf("%w: a rule of the policy is negative", ErrRefused)
	}
	return nil
}

// Rules that keep specs, beside "lock NAME", "pin PIN", "roots of NAME" and
// "used on DATE".
const (
	keepLast  = "one of the newest versions"
	keepYoung = "younger than max age"
	keepGrace = "younger than the grace period"
	keepNewer = "newer than the inventory"
	keepOdd   = "in a form that is not known here"
	keepPush  = "a push that is not complete needs it"
)
