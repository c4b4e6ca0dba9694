package targets

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/doctor"
)

// Doctor names variables and says whether they are there; their values are nowhere.
func TestDoctorTellsWhichCredentialsThereAre(t *testing.T) {
	home := t.TempDir()
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "AWS_CACHE_ACCESS_KEY_ID", "AWS_CACHE_SECRET_ACCESS_KEY",
		"AWS_INFRASTRUCTURE_ACCESS_KEY_ID", "AWS_INFRASTRUCTURE_SECRET_ACCESS_KEY", "GHCR_USER", "GHCR_TOKEN", "OWN_USER", "OWN_PASSWORD",
		publicKeyVariable, privateKeyVariable, privateKeyVariable + "_CONTENT", "DOCKERHUB_USER", "DOCKERHUB_PASSWORD"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", home)
	t.Setenv("DOCKER_CONFIG", home)
	auth := filepath.Join(home, "auth.json")
	t.Setenv("REGISTRY_AUTH_FILE", auth)
	config := defaultConfig()
	config.Registries = []Registry{{Prefix: "ghcr.io/org/x-"}, {Prefix: "registry.example.org/x/"}, {Prefix: "123456789012.dkr.ecr.us-east-1.amazonaws.com/x/"}, {Prefix: "own.example.org/", Credentials: "OWN"}}
	config.Platforms = map[string]Platform{"linux/amd64": {Mirror: "s3://cache"}, "linux/arm64": {Mirror: "s3://open", Anonymous: true}}
	config.SIFs = "s3://sifs"
	look := func() map[string]string {
		t.Helper()
		a := &app{config: config, env: readEnvironment()}
		found := map[string]string{}
		for _, f := range doctor.Examine(t.Context(), doctor.Machine{}, a.credentialNeeds()) {
			if f.Fatal() {
				t.Errorf("%s is required", f.What)
			}
			found[f.What] = f.Found + f.Missing
		}
		if text := fmt.Sprint(found); strings.Contains(text, "v3ry") {
			t.Errorf("a value is shown: %s", text)
		}
		return found
	}
	for what, want := range map[string]string{
		"login for ghcr.io/org/x-":                                  "set GHCR_USER and GHCR_TOKEN; the token needs the scope write:packages",
		"login for registry.example.org/x/":                         "log in with podman login registry.example.org",
		"login for own.example.org/":                                "set OWN_USER and OWN_PASSWORD",
		"login for 123456789012.dkr.ecr.us-east-1.amazonaws.com/x/": "set AWS_ACCESS_KEY_ID",
		"keys for s3://cache":                                       "AWS_CACHE_ACCESS_KEY_ID and AWS_CACHE_SECRET_ACCESS_KEY are not set",
		"keys for s3://sifs":                                        "AWS_INFRASTRUCTURE_ACCESS_KEY_ID and",
		"key of packages, private":                                  privateKeyVariable + " is not set",
		"key of images":                                             "image_key is not set",
	} {
		if got := look()[what]; !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	if _, ok := look()["keys for s3://open"]; ok {
		t.Error("keys are asked for a bucket that everybody may read")
	}
	t.Setenv("GHCR_USER", "v3ry-user")
	if got := look()["login for ghcr.io/org/x-"]; !strings.Contains(got, "set GHCR_USER and GHCR_TOKEN") {
		t.Errorf("half a login: got %q", got)
	}
	for _, name := range []string{"GHCR_TOKEN", "OWN_USER", "OWN_PASSWORD", "AWS_PROFILE", privateKeyVariable + "_CONTENT"} {
		t.Setenv(name, "v3ry-secret")
	}
	if err := os.WriteFile(auth, []byte(`{"auths":{"registry.example.org":{"auth":"djNyeTp2M3J5"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]string{
		"login for ghcr.io/org/x-":                                  "GHCR_USER and GHCR_TOKEN are set",
		"login for registry.example.org/x/":                         "in an auth file of podman or docker",
		"login for own.example.org/":                                "OWN_USER and OWN_PASSWORD are set",
		"login for 123456789012.dkr.ecr.us-east-1.amazonaws.com/x/": "by the standard AWS chain",
		"keys for s3://cache":                                       "by the standard AWS chain",
		"key of packages, private":                                  privateKeyVariable + " is set",
	} {
		if got := look()[what]; got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
}
