// Package janitor decides what may go from a Spack build cache and what must
// stay, and takes away what may go.
//
// It refuses to guess: what cannot be read, a listing that is not whole, or
// roots that say nothing stop it with an error, and never mean "unused". The
// order is Scan, NewPlan, Apply. The first two only read; Apply deletes no
// object that the plan does not name, and none that changed since.
package janitor

import (
	"errors"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Prefix is where the janitor keeps what is its own in the mirror: the lease,
// the journal of runs, and the trash.
const Prefix = ".spacktainers/janitor/"

// A Store is a mirror that the janitor may write to. Scanning needs the
// reading half only.
type Store interface {
	buildcache.Store
	buildcache.Writer
}

// Why the janitor stops. Nothing is deleted after any of them.
var (
	ErrIncomplete = errors.New("the listing is not whole")        // an object is there that was not listed
	ErrRefused    = errors.New("refused")                         // the plan breaks a rule, or the roots say nothing
	ErrLeased     = errors.New("another janitor is at work")      // or one was killed, and its lease has not run out
	ErrUnproved   = errors.New("what must stay would not")        // or did not: the proof failed
	ErrUndeleted  = errors.New("some objects were not deleted")   // the rest was; run again
	ErrNothingFor = errors.New("nothing in the cache matches it") // a name or hash that was asked for
)
