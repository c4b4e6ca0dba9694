package targets

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"github.com/openbraininstitute/spacktainers/internal/assemble"
	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/podman"
	"github.com/openbraininstitute/spacktainers/internal/registry"
	"github.com/openbraininstitute/spacktainers/internal/testing/registrytest"
)

// Whatever asks a registry has the credentials that publishing has.
func TestOneSetOfCredentialsOpensEveryWayToARegistry(t *testing.T) {
	openShop(t)
	server := registrytest.Debian(t, registrytest.Options{User: "ci", Password: "correct-horse"})
	writeFile(t, ConfigFile, fmt.Sprintf("registries:\n- {prefix: %s/org/}\nbase_image: %s/org/tool:1.0\n", server.Host, server.Host))
	platform := v1.Platform{OS: "linux", Architecture: "amd64"}
	ways := map[string]func(*app) error{
		"containers:plan": func(a *app) error {
			found, err := a.published(nil)(t.Context(), image.Record{Name: "tool", Version: "1.0", Platform: "linux/amd64"})
			if err == nil && (found == nil || found.BuildKey != "abc") {
				err = fmt.Errorf("found %+v", found)
			}
			return err
		},
		"--base=": func(a *app) error {
			_, err := assemble.OpenBase(t.Context(), a.pull, server.Host+"/org/tool:1.0", platform)
			return err
		},
		"base:build": func(a *app) error {
			pinned, _, err := podman.Base{Name: podman.Runtime, Platform: "linux/amd64", Files: os.DirFS(t.TempDir()), From: a.config.BaseImage, Pull: a.pull}.Pin(t.Context(), podman.Podman{})
			if err == nil && !strings.Contains(pinned.From, "@sha256:") {
				err = fmt.Errorf("pinned to %s", pinned.From)
			}
			return err
		},
		"a SIF's source": func(a *app) error {
			_, err := a.pull(t.Context(), server.Host+"/org/tool:1.0", platform)
			return err
		},
		"janitor images": func(a *app) error {
			_, err := a.imageLocks(t.Context(), []string{server.Host + "/org/tool"}, true)
			return err
		},
	}
	pushImage(t, server.Host, registry.Login{User: "ci", Password: "correct-horse"}, platform)
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Setenv("CI_REGISTRY", server.Host)
			t.Setenv("CI_REGISTRY_USER", "ci")
			t.Setenv("CI_REGISTRY_PASSWORD", "correct-horse")
			a, err := start()
			if err != nil {
				t.Fatal(err)
			}
			if err := way(a); err != nil {
				t.Error(err)
			}
			t.Setenv("CI_REGISTRY_PASSWORD", "wrong-battery")
			if a, err = start(); err != nil {
				t.Fatal(err)
			}
			err = way(a)
			if err == nil || !strings.Contains(err.Error(), "set CI_REGISTRY_USER") || strings.Contains(err.Error(), "battery") {
				t.Errorf("with a wrong password: %v", err)
			}
		})
	}
}

func pushImage(t *testing.T, host string, login registry.Login, platform v1.Platform) {
	t.Helper()
	client, err := registry.NewClient(registry.Options{Credentials: registry.Credentials{GitLabHost: host, GitLab: login}})
	if err != nil {
		t.Fatal(err)
	}
	img, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = platform.OS, platform.Architecture
	config.Config.Labels = map[string]string{image.LabelBuildKey: "abc"}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(host + "/org/tool:1.0")
	if err != nil {
		t.Fatal(err)
	}
	if err := client.PushImage(context.Background(), ref, img); err != nil {
		t.Fatal(err)
	}
}
