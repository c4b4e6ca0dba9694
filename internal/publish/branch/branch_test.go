package branch_test

import (
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/openbraininstitute/spacktainers/internal/publish/branch"
)

func TestSlug(t *testing.T) {
	for give, want := range map[string]string{
		"main":             "main",
		"feature/x":        "feature-x",
		"Feature/X":        "feature-x",
		"fix__two":         "fix_two",
		"a//b--c":          "a-b-c",
		"-odd-":            "odd",
		"renovate/go-1.26": "renovate-go-1.26",
		"größe":            "gr-e",
	} {
		if got := branch.Slug(give); got != want {
			t.Errorf("Slug(%q) = %q, want %q", give, got, want)
		}
	}
}

func TestLongBranchesStayApart(t *testing.T) {
	long := strings.Repeat("very-long-", 20)
	a, b := branch.Slug(long+"a"), branch.Slug(long+"b")
	if a == b || len(a) > 60 || len(b) > 60 {
		t.Errorf("got %q and %q", a, b)
	}
	if _, err := name.NewTag("r.example/x:" + branch.Version("1.0") + branch.Separator + a); err != nil {
		t.Error(err)
	}
}

func TestVersionAndBranchComeApartAgain(t *testing.T) {
	tag := branch.Version("git.feature/x__y=1.0") + branch.Separator + branch.Slug("a__b/c")
	version, slug, ok := branch.Cut(tag)
	if !ok || version != "git.feature-x_y-1.0" || slug != "a_b-c" {
		t.Errorf("%q came apart as %q, %q, %v", tag, version, slug, ok)
	}
}
