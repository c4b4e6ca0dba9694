package targets

import (
	"context"
	"errors"
	"fmt"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/podman"
	"github.com/openbraininstitute/spacktainers/internal/publish"
	"github.com/openbraininstitute/spacktainers/internal/registry"
	"github.com/openbraininstitute/spacktainers/internal/ui"
)

// registryClient speaks with registries, and shows what it sends. end ends the
// showing; it may be called again.
func (a *app) registryClient(ctx context.Context) (client *registry.Client, end func(), err error) {
	progress := a.Progress(ctx)
	shown := ui.Transfers{Progress: progress}
	options := a.registryOptions()
	options.Progress = func(repository string, blob v1.Hash, size int64) registry.Transfer {
		return shown.Begin(repository, blob, size)
	}
	client, err = registry.NewClient(options)
	return client, progress.Close, err
}

// registryOptions are the same whatever asks a registry, so that credentials
// that publish an image also find its base.
func (a *app) registryOptions() registry.Options {
	options := registry.Options{Credentials: a.env.Registries, Notice: func(text string) { a.Log.Warn(text) }}
	own := func(prefix, name string) {
		if prefix != "" && name != "" {
			id, secret, token := a.env.keys(name)
			options.Credentials.Named = append(options.Credentials.Named, registry.Named{Prefix: prefix, Name: name,
				Login: a.env.login(name), AWS: registry.AWSKeys{ID: id, Secret: secret, Token: token}})
		}
	}
	for _, r := range a.config.Registries {
		if r.Insecure {
			options.Insecure = append(options.Insecure, r.host())
		}
		if r.Realm != "" {
			options.Realms = append(options.Realms, r.Realm)
		}
		own(r.Prefix, r.Credentials)
	}
	own(a.config.Branches.Registry, a.config.Branches.Credentials)
	return options
}

// registryAt is the registry of a prefix: as the configuration has it, or one
// that is spoken with as others at the same host are.
func (a *app) registryAt(prefix string) registry.Registry {
	found := registry.Registry{Prefix: prefix}
	for _, r := range a.config.Registries {
		if r.Prefix == prefix {
			return registry.Registry(r)
		}
		found.Insecure = found.Insecure || r.Insecure && r.host() == found.Host()
	}
	return found
}

// A reader is the client of a target that sends nothing; it is made when it is
// first needed.
type reader struct {
	once   sync.Once
	client *registry.Client
	err    error
}

func (a *app) client() (*registry.Client, error) {
	a.reader.once.Do(func() { a.reader.client, a.reader.err = registry.NewClient(a.registryOptions()) })
	return a.reader.client, a.reader.err
}

// pull opens the image of a registry that a reference means for a platform.
func (a *app) pull(ctx context.Context, ref string, platform v1.Platform) (v1.Image, error) {
	client, err := a.client()
	if err != nil {
		return nil, err
	}
	return client.Pull(ctx, ref, platform)
}

// releaseRegistry is the registry that is asked for what is published: the given
// prefix, or else the first configured one; none where nobody is to be asked.
func (a *app) releaseRegistry(prefix *string) (r registry.Registry, ok bool) {
	switch {
	case prefix != nil:
		r = a.registryAt(*prefix)
	case len(a.config.Registries) > 0:
		r = registry.Registry(a.config.Registries[0])
	}
	return r, r.Prefix != "" && r.Prefix != "none"
}

// published returns what asks a registry for the image of a container.
func (a *app) published(prefix *string) func(context.Context, image.Record) (*image.Record, error) {
	r, ok := a.releaseRegistry(prefix)
	if !ok {
		return nil
	}
	return func(ctx context.Context, want image.Record) (*image.Record, error) {
		client, err := a.client()
		if err != nil {
			return nil, err
		}
		found, err := client.Published(ctx, r, want)
		if found == nil || err != nil {
			return nil, err
		}
		return a.trusted(ctx, client, r, want.Name, found)
	}
}

// locked returns what asks a registry for the lockfile of a container's release
// by its concretization key. Where it must not answer, one that does not is
// said once, and the container is concretized here.
func (a *app) locked(prefix *string, must bool) func(context.Context, podman.Container, string) ([]byte, error) {
	r, ok := a.releaseRegistry(prefix)
	if !ok {
		return nil
	}
	var once sync.Once
	return func(ctx context.Context, c podman.Container, key string) ([]byte, error) {
		text, err := a.publishedLock(ctx, r, c.Name, key)
		switch {
		case err == nil:
			return text, nil
		case must || ctx.Err() != nil:
			return nil, fmt.Errorf("which lockfile is published: %w: --registry=none asks no registry", err)
		}
		once.Do(func() {
			a.Log.Warn("published lockfiles are not asked for: what is concretized here may differ; --registry=none asks no registry", "registry", r.Prefix, "why", err)
		})
		return nil, nil
	}
}

func (a *app) publishedLock(ctx context.Context, r registry.Registry, container, key string) ([]byte, error) {
	client, err := a.client()
	if err != nil {
		return nil, err
	}
	verifier, err := a.releaseVerifier()
	if err != nil {
		return nil, err
	}
	repository, err := r.Repository(container)
	if err != nil {
		return nil, err
	}
	return publish.Lock(ctx, client, repository, key, verifier)
}

// trusted returns what was found if the release builder has signed that it is
// the build of its key, or if no key is configured; else nothing: it is built
// again.
func (a *app) trusted(ctx context.Context, client *registry.Client, in registry.Registry, container string, found *image.Record) (*image.Record, error) {
	verifier, err := a.releaseVerifier()
	if verifier == nil || err != nil {
		return found, err
	}
	repository, err := in.Repository(container)
	if err != nil {
		return nil, err
	}
	err = attest.CheckBuild(ctx, client, repository, found.Digest, verifier, found.BuildKey)
	if errors.Is(err, attest.ErrUnsigned) {
		a.Log.Warn("what is published is not the release builder's: it does not count", "image", repository, "digest", found.Digest)
		return nil, nil
	}
	return found, err
}
