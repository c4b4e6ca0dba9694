package room

import "errors"

// A Reason is why a spec or an object is condemned; 0 is none.
type Reason uint8

const (
	Unneeded  Reason = iota + 1 // no root needs it, and it is old enough
	TooOld                      // there are no roots, and it is older than max age
	Stale                       // no package repository has its package any more
	Dependent                   // it needs a spec that goes
	Purged                      // a person asked for it by name
	Orphan                      // nothing refers to the object
)

var reasons = [...]string{"", "unneeded", "too old", "stale", "dependent", "purged", "orphan"}

// String returns the reason in words.
func (r Reason) String() string { return reasons[r] }

// letters are the reasons in the room.
const letters = "-uosdpx"

var errReason = errors.New("no such reason")

func reasonOf(letter byte) (Reason, error) {
	for i := 1; i < len(letters); i++ {
		if letters[i] == letter {
			return Reason(i), nil
		}
	}
	return 0, errReason
}
