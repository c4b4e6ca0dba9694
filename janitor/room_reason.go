package janitor

import "errors"

// A reason is why a spec or an object is condemned; 0 is none.
type reason uint8

const (
	unneeded  reason = iota + 1 // no root needs it, and it is old enough
	tooOld                      // there are no roots, and it is older than max age
	staleSpec                   // no package repository has its package any more
	dependent                   // it needs a spec that goes
	purged                      // a person asked for it by name
	orphan                      // nothing refers to the object
)

var reasons = [...]string{"", "unneeded", "too old", "stale", "dependent", "purged", "orphan"}

// String returns the reason in words.
func (r reason) String() string { return reasons[r] }

// letters are the reasons in the room.
const letters = "-uosdpx"

var errReason = errors.New("no such reason")

func reasonOf(letter byte) (reason, error) {
	for i := 1; i < len(letters); i++ {
		if letters[i] == letter {
			return reason(i), nil
		}
	}
	return 0, errReason
}
