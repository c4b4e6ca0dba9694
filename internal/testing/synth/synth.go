// Package synth makes build caches that need no build: as big as one
// likes, the same for the same seed, and to a reader like Spack's own.
//
// Hashes and package hashes are random, and signatures there are none: it is
// for tests and measurements of whatever reads, prunes or rewrites a cache.
package synth

import (
	"math/rand/v2"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A Cache is the recipe of a synthetic build cache. Its specs are numbered
// from 0 to Specs-1 in the order in which they were pushed, dependencies before
// dependents. The first ones are externals and build tools that all others
// share; then come generations of a software stack, each rebuilt on the
// low-level packages of the one before it.
type Cache struct {
	Specs  int
	Seed   uint64
	Layout int // 2 (also 0) or 3

	Newest time.Time     // when the last spec was pushed; the start of 2026 if zero
	Age    time.Duration // between the first push and the last one; a year if 0

	PackageSize int  // bytes of data in each tarball; 0 makes a few bytes that are no archive
	Shallow     bool // spec files hold the spec alone, not its whole DAG: fills a big cache faster
}

// The specs that all others share.
const (
	glibc    = iota // external
	compiler        // external: gcc, which layout 2 has as perl
	runtime         // gcc-runtime
	gmake           // needed to build only, as is the next one
	wrapper         // compiler-wrapper, which layout 2 has as pkgconf
	shared          // is their number
)

// stack is the number of packages in a generation.
const stack = 400

func (c Cache) v3() bool { return c.Layout == 3 }

// External reports whether the system provides the spec.
func (c Cache) External(i int) bool { return i == glibc || i == compiler }

// Hash returns the DAG hash of a spec.
func (c Cache) Hash(i int) buildcache.Hash {
	return buildcache.Hash(appendBase32(nil, c.random(i, forHash), 32))
}

// Roots returns n specs that a user may have asked for, the newest first.
func (c Cache) Roots(n int) []int {
	var roots []int
	for i := c.Specs - 1; i >= shared && len(roots) < n; i-- {
		roots = append(roots, i)
	}
	return roots
}

// ModTime returns when a spec was pushed.
func (c Cache) ModTime(i int) time.Time {
	newest, age := c.Newest, c.Age
	if newest.IsZero() {
		newest = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if age == 0 {
		age = 365 * 24 * time.Hour
	}
	if c.Specs < 2 {
		return newest
	}
	older := float64(c.Specs-1-i) / float64(c.Specs-1)
	return newest.Add(-time.Duration(older * float64(age))).Truncate(time.Second)
}

// A purpose keeps the random numbers for one thing from moving those for
// another.
type purpose uint64

const (
	forHash purpose = iota + 1
	forPackageHash
	forDeps
	forParameters
	forData
)

func (c Cache) random(i int, p purpose) *rand.PCG {
	// The multiplier spreads neighbours: PCG's own first numbers would show them.
	r := rand.NewPCG(c.Seed^uint64(p)<<56, uint64(i+1)*0x9e3779b97f4a7c15)
	r.Uint64()
	return r
}

// appendBase32 appends n random characters of Spack's alphabet.
func appendBase32(b []byte, r *rand.PCG, n int) []byte {
	for n > 0 {
		word := r.Uint64()
		for k := 0; k < 12 && n > 0; k, n = k+1, n-1 {
			b = append(b, "abcdefghijklmnopqrstuvwxyz234567"[word&31])
			word >>= 5
		}
	}
	return b
}
