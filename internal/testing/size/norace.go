//go:build !race

package size

// Race reports whether the race detector is on: what is random and takes long does a tenth then, as
// it takes ten times as long.
const Race = false
