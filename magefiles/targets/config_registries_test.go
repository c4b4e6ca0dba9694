package targets

import (
	"fmt"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/testing/registrytest"
)

func TestCredentialsAreNamesAndNoSecrets(t *testing.T) {
	const secret = "hunter2-S3cret"
	for text, want := range map[string]string{
		"registries: [{prefix: ghcr.io/org/, credentials: RELEASES_2}]":                                                       "",
		"branches: {registry: ghcr.io/org/branches/, credentials: BRANCHES}\nregistries: [{prefix: ghcr.io/org/}]":            "",
		"branches: {registry: ghcr.io/org/branch-, credentials: BRANCHES}\nregistries: [{prefix: ghcr.io/org/spack-}]":        "",
		"registries: [{prefix: ghcr.io/org/, credentials: " + secret + "}]":                                                   "spacktainers.yaml:1:",
		"branches: {registry: ghcr.io/org/branch-, credentials: cache-branches}":                                              "want the name that variables",
		"platforms: {linux/amd64: {credentials: " + secret + "}}":                                                             "secrets never stand here",
		"registries: [{prefix: example.org/x/, credentials: DOCKERHUB}]":                                                      "those of docker.io",
		"branches: {registry: example.org/x/, credentials: CI_REGISTRY}":                                                      "those of the GitLab of the CI job",
		"registries: [{prefix: no-slash}]":                                                                                    `registry prefix "no-slash"`,
		"branches: {registry: no-slash}":                                                                                      `registry prefix "no-slash"`,
		"branches: {registry: ghcr.io/org/}\nregistries: [{prefix: ghcr.io/org/spack-}]":                                      "repositories in common",
		"branches: {registry: ghcr.io/org/branch-}\nregistries: [{prefix: ghcr.io/Org/}]":                                     "such as ghcr.io/Org/branches/",
		"branches: {registry: docker.io/org/}\nregistries: [{prefix: index.docker.io/org/}]":                                  "repositories in common",
		"branches: {registry: ghcr.io/org/x}\nregistries: [{prefix: ghcr.io/other/}, {prefix: ghcr.io/org/x}]":                "repositories in common",
		"branches: {registry: 127.0.0.1:5000/org/branches/}\nregistries: [{prefix: \"127.0.0.1:5000/org/\", insecure: true}]": "",
		"registries: [{prefix: ghcr.io/org/, credentials: A}, {prefix: ghcr.io/Org/, credentials: B}]":                        "named twice, with other credentials",
		"registries: [{prefix: ghcr.io/org/, credentials: A}, {prefix: ghcr.io/org/}]":                                        "named twice, with other credentials",
		"registries: [{prefix: ghcr.io/org/, credentials: A}, {prefix: ghcr.io/org/, credentials: A}]":                        "",
	} {
		_, err := load(t, text)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%s: got %v, want one line with %q", text, err, want)
		case err != nil && strings.Contains(err.Error(), secret):
			t.Errorf("the secret is repeated: %v", err)
		}
	}
}

// Releases and branches publish with logins of their own, and a job that has
// one of them cannot do what the other is for.
func TestReleasesAndBranchesHaveLoginsOfTheirOwn(t *testing.T) {
	s := openShop(t)
	s.build(t, s.root, "linux/arm64", "a")
	releases := registrytest.Debian(t, registrytest.Options{User: "releaser", Password: "r3lease-S3cret"})
	branches := registrytest.Debian(t, registrytest.Options{User: "brancher", Password: "br4nch-S3cret"})
	writeFile(t, ConfigFile, fmt.Sprintf("registries:\n- {prefix: %s/org/, credentials: RELEASES}\nbranches: {registry: %s/branch-, credentials: BRANCHES}\n", releases.Host, branches.Host))
	release, ofBranch := publishOptions{branch: on("main"), release: on(true)}, publishOptions{branch: on("x")}
	all := map[string]string{"RELEASES_USER": "releaser", "RELEASES_PASSWORD": "r3lease-S3cret", "BRANCHES_USER": "brancher", "BRANCHES_PASSWORD": "br4nch-S3cret"}
	for _, c := range []struct {
		what    string
		without string // variables that begin so
		options publishOptions
		want    string // of the error
	}{
		{"a branch without any login", "", ofBranch, "set BRANCHES_USER and BRANCHES_PASSWORD (credentials: BRANCHES in spacktainers.yaml)"},
		{"a branch with that of releases", "BRANCHES", ofBranch, "set BRANCHES_USER and BRANCHES_PASSWORD"},
		{"a release with that of branches", "RELEASES", release, "set RELEASES_USER and RELEASES_PASSWORD"},
		{"a branch", "RELEASES", ofBranch, ""},
		{"a release", "BRANCHES", release, ""},
		{"a release with all", "none", release, ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			// A login for either host by other ways is no way in.
			for name, value := range map[string]string{"CI_REGISTRY": branches.Host, "CI_REGISTRY_USER": "brancher", "CI_REGISTRY_PASSWORD": "br4nch-S3cret"} {
				t.Setenv(name, value)
			}
			for name, value := range all {
				if c.without == "" || strings.HasPrefix(name, c.without) {
					value = ""
				}
				t.Setenv(name, value)
			}
			_, err := printed(t, func() error { return publishAll(t.Context(), on("tool"), c.options) })
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q", err, c.want)
			case err != nil && strings.Contains(err.Error(), "S3cret"):
				t.Errorf("a secret is repeated: %v", err)
			}
		})
	}
}
