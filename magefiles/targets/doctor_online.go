package targets

import (
	"context"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/doctor"
	"github.com/openbraininstitute/spacktainers/internal/podman"
	"github.com/openbraininstitute/spacktainers/internal/registry"
)

// The targets that ask what is elsewhere.
var (
	builds    = []string{"base", "containers", "containers:build", "containers:plan"}
	publishes = []string{"publish", "publish:container", "containers:plan"}
	prunes    = []string{"containers:build", "janitor:prune"}
)

// onlineNeeds are what the configuration names and a network leads to: sources, base images,
// registries, build caches and the store of SIFs. Each is asked for what a target asks it first.
func (a *app) onlineNeeds() (needs []doctor.Need) {
	add := func(what string, targets []string, ask func(ctx context.Context) (string, error)) {
		if !slices.ContainsFunc(needs, func(n doctor.Need) bool { return n.What == what }) {
			probe := func(ctx context.Context, _ doctor.Machine) (string, error) { return ask(ctx) }
			needs = append(needs, doctor.Need{What: what, Targets: targets, Probe: probe, Optional: "is elsewhere: what asks it fails until it answers"})
		}
	}
	sources := []podman.Source{{URL: a.config.Spack.URL, Ref: a.config.Spack.Ref}}
	for _, r := range a.config.Spack.Repos {
		sources = append(sources, podman.Source{URL: r.URL, Ref: r.Ref})
	}
	for _, source := range sources {
		add(source.URL, builds, func(ctx context.Context) (string, error) {
			pinned, err := source.Pin(ctx, command.Exec(nil))
			return source.Ref + " is " + pinned.Commit[:min(12, len(pinned.Commit))], err
		})
	}
	for _, platform := range sortedKeys(a.config.Platforms) {
		for _, b := range a.bases(platform, nil) {
			if b.Name == podman.Runtime && !strings.HasPrefix(b.From, "debootstrap:") && !strings.HasPrefix(b.From, "localhost/") {
				add(b.From, builds, func(ctx context.Context) (string, error) { return a.askImage(ctx, b.From, platform) })
			}
		}
		if mirror := a.config.Platforms[platform].Mirror; mirror != "" {
			add(mirror, prunes, func(ctx context.Context) (string, error) { return a.askStore(ctx, mirror) })
		}
	}
	for _, r := range a.config.Registries {
		add(r.Prefix, publishes, func(ctx context.Context) (string, error) { return a.askRegistry(ctx, registry.Registry(r)) })
	}
	if a.config.Branches.Registry != "" {
		add(a.config.Branches.Registry, publishes, func(ctx context.Context) (string, error) {
			return a.askRegistry(ctx, a.registryAt(a.config.Branches.Registry))
		})
	}
	if a.config.Branches.Mirror != "" {
		add(a.config.Branches.Mirror, prunes, func(ctx context.Context) (string, error) { return a.askStore(ctx, a.config.Branches.Mirror) })
	}
	if a.config.SIFs != "" {
		add(a.config.SIFs, []string{"sif:upload", "sif:install", "sif:clean"}, func(ctx context.Context) (string, error) {
			store, err := a.openSIFs(ctx, nil)
			if err != nil {
				return "", err
			}
			for _, err := range store.List(ctx, "") {
				return "answers", err
			}
			return "answers", nil
		})
	}
	return needs
}

func (a *app) askImage(ctx context.Context, ref, platform string) (string, error) {
	want, err := v1.ParsePlatform(platform)
	if err != nil {
		return "", err
	}
	img, err := a.pull(ctx, ref, *want)
	if err != nil {
		return "", err
	}
	digest, err := img.Digest()
	return "is " + short(digest), err
}

// askStore lists the first object of a build cache.
func (a *app) askStore(ctx context.Context, address string) (string, error) {
	store, _, err := a.openStore(ctx, address)
	if err != nil {
		return "", err
	}
	for _, err := range store.List(ctx, "") {
		return "answers", err
	}
	return "answers, and is empty", nil
}

// askRegistry asks for a tag that need not exist: what counts is whether there is an answer, and
// whether it takes us for somebody.
func (a *app) askRegistry(ctx context.Context, r registry.Registry) (string, error) {
	client, err := a.client()
	if err != nil {
		return "", err
	}
	repository, err := r.Repository(podman.Runtime)
	if err != nil {
		return "", err
	}
	_, err = client.Head(ctx, repository.Tag("latest"))
	if registry.IsHidden(repository.RegistryStr(), err) {
		return "answers; " + repository.RepositoryStr() + " is not there, or takes other credentials", nil
	}
	return "answers", err
}
