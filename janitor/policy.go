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

// Reasons for which a spec or an object goes.
const (
	Unneeded  = "unneeded"  // no root needs it, and it is old enough
	TooOld    = "too old"   // there are no roots, and it is older than max age
	Stale     = "stale"     // no package repository has its package any more
	Dependent = "dependent" // it needs a spec that goes
	Purged    = "purged"    // somebody asked for it by name
	Orphan    = "orphan"    // nothing refers to the object
)

// Rules that keep specs, beside "lock NAME", "pin PIN" and "used on DATE".
const (
	keepLast  = "one of the newest versions"
	keepYoung = "younger than max age"
	keepGrace = "younger than the grace period"
)
