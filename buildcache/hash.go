package buildcache

import (
	"fmt"
	"strings"
)

// A Hash is the DAG hash of a concrete spec: 32 characters of Spack's
// lower-case base32 alphabet (a-z, 2-7).
type Hash string

const hashLen = 32

// ParseHash reads a full DAG hash; abbreviated ones are ErrFormat.
func ParseHash(s string) (Hash, error) {
	if len(s) != hashLen || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		return "", fmt.Errorf("%w: %q is no spec hash: want %d characters a-z and 2-7", ErrFormat, s, hashLen)
	}
	return Hash(s), nil
}
