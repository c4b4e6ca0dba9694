package targets

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/doctor"
	"github.com/openbraininstitute/spacktainers/internal/podman"
	"github.com/openbraininstitute/spacktainers/internal/registry"
	"github.com/openbraininstitute/spacktainers/internal/sifstore"
)

// credentialNeeds are the logins and keys for what the configuration names. Of each only the name of
// its variable is told, and whether it is there.
func (a *app) credentialNeeds() (needs []doctor.Need) {
	add := func(what, use string, targets []string, look func(ctx context.Context) (string, error)) {
		probe := func(ctx context.Context, _ doctor.Machine) (string, error) { return look(ctx) }
		needs = append(needs, doctor.Need{What: what, Targets: targets, Optional: use, Probe: probe})
	}
	for _, r := range a.config.Registries {
		add("login for "+r.Prefix, "publishes there, and reads what not everybody may", publishes, a.loginOrigin(registry.Registry(r)))
	}
	if prefix := a.config.Branches.Registry; prefix != "" {
		add("login for "+prefix, "publishes what branches build", publishes, a.loginOrigin(a.registryAt(prefix)))
	}
	mirrors := []string{a.config.Branches.Mirror}
	for _, platform := range sortedKeys(a.config.Platforms) {
		mirrors = append(mirrors, a.config.Platforms[platform].Mirror)
	}
	for _, mirror := range slices.Compact(slices.Sorted(slices.Values(mirrors))) {
		at, err := a.location(mirror)
		if mirror == "" || err != nil || !at.IsBucket() || at.Anonymous {
			continue
		}
		id, secret, _ := a.env.keys(at.Credentials)
		add("keys for "+mirror, "reads that build cache, and writes to it", prunes, func(context.Context) (string, error) {
			return a.keysOrigin(at.Credentials, id, secret, at.Credentials == defaultCredentials)
		})
	}
	if at, err := a.location(a.config.SIFs); err == nil && a.config.SIFs != "" && at.IsBucket() {
		add("keys for "+a.config.SIFs, "reads and writes that bucket of SIFs", []string{"sif", "sif:upload", "sif:install", "sif:clean"},
			func(context.Context) (string, error) {
				return a.keysOrigin("AWS_INFRASTRUCTURE", a.env.AssetsKeyID, a.env.AssetsKeySecret, true)
			})
	}
	add("key of packages, public", "refuses packages of the build cache that it has not signed", prunes, func(context.Context) (string, error) {
		keys, err := a.publicKeys()
		return given(publicKeyVariable, keys != nil, err)
	})
	add("key of packages, private", "signs the packages that releases build", []string{"containers", "containers:build", "ci:package"}, func(context.Context) (string, error) {
		text, err := a.env.Files[privateKeyVariable].read()
		return given(privateKeyVariable, len(text) > 0, err)
	})
	add("key of images", "refuses images that the release builder has not signed (image_key)", publishes, func(context.Context) (string, error) {
		verifier, err := a.releaseVerifier()
		return given("image_key", verifier != nil, err)
	})
	add("key of SIFs", "refuses lists of SIFs that it has not signed (sif_key)", []string{"sif:install"}, func(context.Context) (string, error) {
		if a.config.SIFKey == "" {
			return given("sif_key", false, nil)
		}
		_, err := sifstore.ReadTrusted(a.config.SIFKey)
		return given("sif_key", true, err)
	})
	for _, p := range []struct{ variable, use, targets string }{
		{"COSIGN_PASSWORD", "opens a key of images, for --sign", "publish publish:container publish:base publish:promote"},
		{"SIF_KEY_PASSPHRASE", "opens a key of SIFs, for --sign", "sif sif:build sif:upload sif:clean"},
	} {
		add(p.variable, p.use, strings.Fields(p.targets), func(context.Context) (string, error) {
			return given(p.variable, a.env.has(p.variable), nil)
		})
	}
	return needs
}

// given tells of a variable, or a key of the configuration, whether it is there.
func given(name string, is bool, err error) (string, error) {
	if err == nil && !is {
		err = errors.New(name + " is not set")
	}
	return name + " is set", err
}

// loginOrigin is where the login of a registry comes from.
func (a *app) loginOrigin(r registry.Registry) func(ctx context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		repository, err := r.Repository(podman.Runtime)
		if err != nil {
			return "", err
		}
		return a.registryOptions().Credentials.Origin(ctx, repository, a.env.hasAWSChain())
	}
}

// keysOrigin is where the keys of a bucket come from: NAME_ACCESS_KEY_ID and NAME_SECRET_ACCESS_KEY,
// or else, where it may, the standard AWS chain.
func (a *app) keysOrigin(name, id, secret string, chain bool) (string, error) {
	switch {
	case id != "" && secret != "":
		return fmt.Sprintf("%[1]s_ACCESS_KEY_ID and %[1]s_SECRET_ACCESS_KEY are set", name), nil
	case id != "":
		return "", fmt.Errorf("%[1]s_ACCESS_KEY_ID is set, but %[1]s_SECRET_ACCESS_KEY is not", name)
	case chain && a.env.hasAWSChain():
		return "by the standard AWS chain", nil
	}
	return "", fmt.Errorf("%[1]s_ACCESS_KEY_ID and %[1]s_SECRET_ACCESS_KEY are not set", name)
}
