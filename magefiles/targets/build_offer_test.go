package targets

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/ui"
)

// A branch reads what releases wrote and writes where they never read; a release reads what
// releases wrote.
func TestBranchesAndReleasesShareNoBytes(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	releases, branches := t.TempDir(), t.TempDir()
	a := &app{UI: ui.New(os.Stdout, os.Stderr, "", ui.Style{NoColor: true}), env: environment{Files: map[string]secretFile{}}}
	for what, c := range map[string]struct {
		branches string
		key      string
		release  bool
		reads    []string
		writes   string
	}{
		"a release":                        {branches, "", true, []string{releases}, releases},
		"a release with a public key only": {branches, filepath.Join(root, quickstartKey), true, []string{releases}, ""},
		"a branch":                         {branches, "", false, []string{releases, branches}, branches},
		"a branch without a place":         {"", "", false, []string{releases}, ""},
		"a branch where keys are asked":    {branches, filepath.Join(root, quickstartKey), false, []string{releases, branches}, branches},
	} {
		a.config.Branches.Mirror = c.branches
		a.env.Files[publicKeyVariable] = secretFile{publicKeyVariable, c.key, ""}
		offer, err := a.offer(t.Context(), releases, c.release, false)
		if err != nil {
			t.Fatal(err)
		}
		var reads []string
		for i, m := range offer.Mirrors {
			reads = append(reads, m.Store.(interface{ String() string }).String())
			if verified := m.Keys != nil; verified != (c.key != "" && i == 0) {
				t.Errorf("%s: %s is verified: %v", what, reads[i], verified)
			}
		}
		writes := ""
		if offer.Push != nil {
			writes = offer.Push.Store.(interface{ String() string }).String()
			if offer.Push.Signer != nil {
				t.Errorf("%s: signs without a key", what)
			}
		}
		if !slices.Equal(reads, c.reads) || writes != c.writes {
			t.Errorf("%s: reads %v, writes %q", what, reads, writes)
		}
	}
}

// A bucket that everybody may read takes no credentials, and no packages.
func TestAnAnonymousMirrorIsReadWithoutCredentials(t *testing.T) {
	a := &app{UI: ui.New(os.Stdout, os.Stderr, "", ui.Style{NoColor: true}), env: environment{Files: map[string]secretFile{}}}
	for anonymous, want := range map[bool]int{true: 1, false: 0} {
		a.config.Platforms = map[string]Platform{"linux/amd64": {Mirror: "s3://cache", Endpoint: "http://127.0.0.1:1", Anonymous: anonymous}}
		offer, err := a.offer(t.Context(), "s3://cache", true, false)
		if err != nil || len(offer.Mirrors) != want || offer.Push != nil {
			t.Errorf("anonymous %v: reads %d mirrors, pushes: %v, %v", anonymous, len(offer.Mirrors), offer.Push != nil, err)
		}
	}
}

// Git's credentials are for the hosts that the configuration names, and for releases or who asks
// for them.
func TestGitCredentialsAreForNamedHostsAndReleases(t *testing.T) {
	a := &app{UI: ui.New(os.Stdout, os.Stderr, "", ui.Style{NoColor: true}), env: environment{Files: map[string]secretFile{
		gitVariable: {gitVariable, "", "https://me:canary@git.example.org\nhttps://me:canary@other.example.org\n"},
	}}}
	for _, c := range []struct {
		hosts        []string
		release, git bool
		want         int
	}{
		{nil, true, true, 0}, {[]string{"git.example.org"}, true, false, 1}, {[]string{"git.example.org"}, false, false, 0}, {[]string{"git.example.org"}, false, true, 1},
	} {
		a.config.Spack.Private = c.hosts
		offer, err := a.offer(t.Context(), "", c.release, c.git)
		if err != nil || len(offer.Git) != c.want {
			t.Errorf("%+v: got %d, %v", c, len(offer.Git), err)
		}
	}
}
