package targets

import (
	"context"
	"fmt"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/push"
	"github.com/openbraininstitute/spacktainers/internal/gateway"
)

// offer is what builds for a platform get of the gateway. A release reads the
// platform's build cache, verified where there is a public key, and its packages
// go there, signed. A branch reads that too, then its own, and its packages go
// to its own, unsigned; without one they go nowhere.
func (a *app) offer(ctx context.Context, mirror string, isRelease, withGit bool) (gateway.Build, error) {
	var b gateway.Build
	keys, err := a.publicKeys()
	if err != nil {
		return b, err
	}
	if isRelease && a.isBranches(mirror) {
		return b, wrongCall("%s is where branches leave what they build: no release reads that", mirror)
	}
	released, err := a.readable(ctx, mirror)
	if err != nil {
		return b, err
	}
	if released != nil {
		b.Mirrors = append(b.Mirrors, gateway.Mirror{Store: released, Keys: keys})
	}
	if isRelease {
		if released != nil {
			b.Push, err = a.releaseDestination(mirror, released, keys)
		}
	} else if a.config.Branches.Mirror != "" {
		var own store
		if own, err = a.readable(ctx, a.config.Branches.Mirror); own != nil {
			b.Mirrors = append(b.Mirrors, gateway.Mirror{Store: own})
			b.Push = &gateway.Destination{Store: own}
		}
	}
	if err == nil && (isRelease || withGit) && len(a.config.Spack.Private) > 0 {
		b.Git, err = a.gitLogins()
	}
	return b, err
}

// isBranches reports whether a build cache is, or has a part in common with, that of branches.
func (a *app) isBranches(mirror string) bool {
	branches, err := buildcache.ParseLocation(a.config.Branches.Mirror, "")
	if err != nil {
		return false // there is none
	}
	at, err := buildcache.ParseLocation(mirror, "")
	return err == nil && (branches.Contains(at) || at.Contains(branches))
}

// readable opens a build cache; nil where there is none, or where credentials that
// it takes are missing.
func (a *app) readable(ctx context.Context, url string) (store, error) {
	if url == "" {
		return nil, nil
	}
	at, err := a.location(url)
	if err != nil {
		return nil, fmt.Errorf("mirror: %w", err)
	}
	if at.IsBucket() && !at.Anonymous {
		id, _, _ := a.env.keys(at.Credentials)
		if id == "" && !(at.Credentials == defaultCredentials && a.env.hasAWSChain()) {
			a.Log.Warn(fmt.Sprintf("no build cache: it needs %[1]s_ACCESS_KEY_ID and %[1]s_SECRET_ACCESS_KEY", at.Credentials), "mirror", url)
			return nil, nil
		}
	}
	opened, _, err := a.openStore(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("mirror: %w", err)
	}
	return opened, nil
}

// releaseDestination is where packages of releases go: signed where there is a
// key, and nowhere if that is missing while signatures are asked for, or if no one
// says who we are.
func (a *app) releaseDestination(mirror string, to store, keys *buildcache.Keyring) (*gateway.Destination, error) {
	at, err := a.location(mirror)
	if err != nil {
		return nil, err
	}
	if at.Anonymous {
		a.Log.Warn("packages are not pushed: the configuration says anonymous: true, so no credentials are used", "mirror", mirror)
		return nil, nil
	}
	private := a.env.Files[privateKeyVariable]
	if !private.given() {
		if keys != nil {
			a.Log.Warn("packages are not pushed: with " + publicKeyVariable + " they must be signed, which takes " + privateKeyVariable)
			return nil, nil
		}
		return &gateway.Destination{Store: to}, nil
	}
	text, err := private.read()
	if err != nil {
		return nil, err
	}
	signer, err := push.ReadSigner(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", privateKeyVariable, err)
	}
	return &gateway.Destination{Store: to, Signer: signer, Keys: keys}, nil
}

// publicKeys are those of which one must have signed each package of a release;
// nil where none is given.
func (a *app) publicKeys() (*buildcache.Keyring, error) {
	public := a.env.Files[publicKeyVariable]
	if !public.given() {
		return nil, nil
	}
	text, err := public.read()
	if err != nil {
		return nil, err
	}
	keys, err := buildcache.ReadKeyring(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", publicKeyVariable, err)
	}
	return keys, nil
}

// gitLogins are the credentials for those private hosts that the configuration
// names, and no others.
func (a *app) gitLogins() ([]gateway.GitLogin, error) {
	file := a.env.Files[gitVariable]
	if !file.given() {
		a.Log.Warn("private repositories cannot be read: "+gitVariable+" is not set", "hosts", strings.Join(a.config.Spack.Private, " "))
		return nil, nil
	}
	text, err := file.read()
	if err != nil {
		return nil, err
	}
	return gateway.ReadGitLogins(text, a.config.Spack.Private)
}

// gateway starts what builds reach of this machine, and where that can be had a
// network of their own, which isolated insists on (nil: if possible; false: not
// at all).
func (a *app) gateway(isolated *bool) (*gateway.Gateway, *gateway.Namespace, error) {
	g, err := gateway.New()
	if err != nil || !or(isolated, true) {
		return g, nil, err
	}
	namespace, err := g.Isolate()
	switch {
	case err == nil:
		return g, namespace, nil
	case isolated != nil:
		g.Close()
		return nil, nil, fmt.Errorf("--isolated: %w", err)
	}
	a.Log.Warn("builds share this machine's network", "why", err)
	return g, nil, nil
}
