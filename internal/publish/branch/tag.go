package branch

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// maxTag is the length that a tag may have.
const maxTag = 128

// Tag writes a branch as the tag of its images. No two branches have the same
// tag, whatever their names, and it is never that of a version, a build key or
// a digest. Letters a to z, digits, '.' and '-' stay, all else is _ and two hex
// digits a byte; what becomes too long is a hash.
func Tag(branch string) string {
	var b strings.Builder
	b.WriteString("branch-")
	for _, c := range []byte(branch) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '.', c == '-':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	if b.Len() <= maxTag {
		return b.String()
	}
	sum := sha256.Sum256([]byte(branch))
	return "branch_" + hex.EncodeToString(sum[:])
}
