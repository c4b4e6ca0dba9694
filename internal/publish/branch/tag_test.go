package branch_test

import (
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/openbraininstitute/spacktainers/internal/publish/branch"
)

func TestNoTwoBranchesShareATag(t *testing.T) {
	long := strings.Repeat("x", 200)
	seen := map[string]string{}
	for _, b := range []string{
		"main", "latest", "1.0", "key-0123456789abcdef", "sha256-" + strings.Repeat("a", 64), "feature/x", "feature-x", "feature_x", "feature_2fx",
		"Feature/x", "feature//x", "feature/x ", "-x", "x-", ".x", "größe", "gr-e", "_", "__", "a__b", "a_b", long, long + "y",
		"_" + branch.Tag(long)[len("branch_"):], "\xff", "\u00ff", "",
	} {
		tag := branch.Tag(b)
		if other, ok := seen[tag]; ok {
			t.Errorf("%q and %q are both %s", b, other, tag)
		}
		seen[tag] = b
		if _, err := name.NewTag("r.example/x:" + tag); err != nil || !strings.HasPrefix(tag, "branch") {
			t.Errorf("%q becomes %q: %v", b, tag, err)
		}
	}
}

// FuzzTag reads a short branch back from its tag, which no two could share.
func FuzzTag(f *testing.F) {
	for _, b := range []string{"main", "feature/x", "a_2fb", "Größe"} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b string) {
		rest, ok := strings.CutPrefix(branch.Tag(b), "branch-")
		if !ok {
			return // a hash
		}
		var back []byte
		for i := 0; i < len(rest); i++ {
			if rest[i] != '_' {
				back = append(back, rest[i])
				continue
			}
			back = append(back, unhex(rest[i+1])<<4|unhex(rest[i+2]))
			i += 2
		}
		if string(back) != b {
			t.Errorf("%q came back as %q", b, back)
		}
	})
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c - 'a' + 10
}
