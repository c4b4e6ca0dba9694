// Package torture is a world in which the janitor is tortured: a bucket in memory that fails in all
// the ways that real ones do, the programs that use it beside the janitor, weeks of virtual time,
// and an oracle that reads raw objects only.
//
// It shares no code with what it checks. Caches are written by its own generator from what is known
// of Spack's formats, and read by its own oracle with encoding/json; of package buildcache it uses
// no more than the interfaces of a store. The oracle was written without reading the janitor, so
// that the two have no blind spot in common.
//
// A History is a list of steps with a seed. It runs in a bubble of testing/synctest, in which a
// week takes as long as the programs in it compute. Every write is checked when it takes place, and
// the whole when all is quiet.
package torture

import "time"

// What the design promises, as durations.
const (
	day  = 24 * time.Hour
	week = 7 * day

	// lookAge is how old a look may be when a deletion rests on it.
	lookAge = 5 * time.Minute
	// settle is how long spec files and manifests stay after their entries left the index: as long
	// as Spack's clients keep a copy of it.
	settle = 10 * time.Minute
	// buildSet and repositorySet are how long root sets are in force.
	buildSet      = 48 * time.Hour
	repositorySet = 90 * day
)
