package image

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// An Input is one thing that an image is made of. Two builds with the same
// inputs are the same build.
type Input struct {
	Kind   string `json:"kind"`   // file, dag, base, platform, template, ...
	Name   string `json:"name"`   // which of its kind
	Digest string `json:"digest"` // of its content, or the content itself where it is short
}

func (i Input) compare(j Input) int {
	return strings.Compare(i.Kind+"\x00"+i.Name, j.Kind+"\x00"+j.Name)
}

// BuildKey is the digest of all inputs of an image, whatever their order: 64
// hex digits.
func BuildKey(inputs []Input) string {
	sorted := slices.SortedFunc(slices.Values(inputs), Input.compare)
	sum := sha256.New()
	for _, in := range sorted {
		fmt.Fprintf(sum, "%q %q %q\n", in.Kind, in.Name, in.Digest)
	}
	return hex.EncodeToString(sum.Sum(nil))
}
