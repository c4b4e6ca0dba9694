package janitor

import "time"

// A Policy says what may go. A duration or number of 0 means that there is no
// such rule; the brake is the exception.
type Policy struct {
	Grace       time.Duration `json:"grace"`                // what is younger stays, orphans too: a build may be pushing it
	MaxAge      time.Duration `json:"max_age,omitempty"`    // what is younger stays; without roots, what is older goes
	UsedSince   time.Duration `json:"used_since,omitempty"` // what was fetched less long ago stays, by Uses
	KeepLast    int           `json:"keep_last,omitempty"`  // newest versions of each package that stay
	DropBuild   bool          `json:"drop_build,omitempty"` // what is needed to build only does not stay for that
	NoRoots     bool          `json:"no_roots,omitempty"`   // nothing is needed: go by age alone
	MaxFraction float64       `json:"max_fraction"`         // refuse to delete more of the specs or bytes; with 0, anything

	// Packages are all that package repositories know; specs of others are
	// stale. Nil is no such rule.
	Packages Packages `json:"-"`

	Uses Uses `json:"-"` // for UsedSince
}

// A reason is why a spec or an object goes; 0 is none.
type reason uint8

const (
	unneeded  reason = iota + 1 // no root needs it, and it is old enough
	tooOld                      // there are no roots, and it is older than max age
	staleSpec                   // no package repository has its package any more
	dependent                   // it needs a spec that goes
	purged                      // somebody asked for it by name
	orphan                      // nothing refers to the object
)

var reasons = [...]string{"", "unneeded", "too old", "stale", "dependent", "purged", "orphan"}

// String returns the reason in words.
func (r reason) String() string { return reasons[r] }

// Rules that keep specs, beside "lock NAME", "pin PIN" and "used on DATE".
const (
	keepLast  = "one of the newest versions"
	keepYoung = "younger than max age"
	keepGrace = "younger than the grace period"
	keepNewer = "newer than the inventory"
	reviewed  = "the plan that was reviewed"
)
