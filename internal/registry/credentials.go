package registry

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// Credentials are what a user's environment gives for registries. What is not
// here comes from the auth files of podman and docker and their helpers.
type Credentials struct {
	GHCR      Login // GHCR_USER, GHCR_TOKEN
	DockerHub Login // DOCKERHUB_USER, DOCKERHUB_PASSWORD
	GitLab    Login // of the CI job

	GitLabHost string   // CI_REGISTRY
	AuthFiles  []string // podman's, in order; missing ones are skipped

	Named []Named // what registries have for themselves
}

// A Login is a name and a password or token.
type Login struct{ User, Password string }

// A source is where the credentials of a registry may come from.
type source struct {
	login          Login
	user, password string // the variables
	hint           string // what else must hold
}

const (
	ghcr      = "ghcr.io"
	dockerHub = name.DefaultRegistry // index.docker.io
)

// source says which variables speak for a host, if any do.
func (c Credentials) source(host string) (source, bool) {
	switch {
	case host == ghcr:
		return source{c.GHCR, "GHCR_USER", "GHCR_TOKEN", "the token needs the scope write:packages (to remove: delete:packages)"}, true
	case host == dockerHub:
		return source{c.DockerHub, "DOCKERHUB_USER", "DOCKERHUB_PASSWORD", "an access token needs the permission Read & Write"}, true
	case c.GitLabHost != "" && host == c.GitLabHost:
		return source{c.GitLab, "CI_REGISTRY_USER", "CI_REGISTRY_PASSWORD", "in a CI job, CI_JOB_TOKEN needs write access to the project's registry"}, true
	}
	return source{}, false
}

// ecrRights is what pushing to Amazon ECR takes.
const ecrRights = "the role needs ecr:GetAuthorizationToken, ecr:BatchCheckLayerAvailability, ecr:InitiateLayerUpload, ecr:UploadLayerPart, ecr:CompleteLayerUpload, ecr:PutImage and ecr:BatchGetImage"

// advice is what a user without access can do.
func (c Credentials) advice(target authn.Resource) string {
	if n := c.named(target); n != nil {
		return n.advice(target)
	}
	host := target.RegistryStr()
	if _, ok := parseECR(host); ok {
		return "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE; " + ecrRights
	}
	if from, ok := c.source(host); ok {
		return fmt.Sprintf("set %s and %s; %s", from.user, from.password, from.hint)
	}
	return "log in with podman login " + host + "; the account needs permission to pull and push"
}

// A keychain hands credentials to go-containerregistry, and remembers what of
// them must not be seen.
type keychain struct {
	credentials Credentials
	ecr         *ecrAccounts

	mu      sync.Mutex
	secrets []string
	tokens  []string // that registries gave
	offers  []string // prefixes and hosts whose credentials were shown
	shown   []shown  // what they were shown
	realms  []string // hosts that may see credentials for other domains
}

// Resolve satisfies authn.Keychain.
func (k *keychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	return k.ResolveContext(context.Background(), target)
}

// ResolveContext finds the credentials for a repository: those it has for
// itself and no others, or else those given for its registry, AWS credentials
// for ECR, then the auth files.
func (k *keychain) ResolveContext(ctx context.Context, target authn.Resource) (authn.Authenticator, error) {
	auth, err := k.find(ctx, target)
	if err != nil {
		return nil, err
	}
	given, err := authn.Authorization(ctx, auth)
	if err != nil {
		return nil, fmt.Errorf("credentials for %s: %w", target.RegistryStr(), err)
	}
	k.hide(target, given)
	return auth, nil
}

func (k *keychain) find(ctx context.Context, target authn.Resource) (authn.Authenticator, error) {
	host := target.RegistryStr()
	_, isECR := parseECR(host)
	named := k.credentials.named(target)
	if named != nil && !isECR {
		return named.resolve()
	}
	if from, ok := k.credentials.source(host); ok && from.login != (Login{}) {
		switch {
		case from.login.User == "":
			return nil, &Error{Sentence: fmt.Sprintf("credentials for %s: %s is set, but %s is not", host, from.password, from.user)}
		case from.login.Password == "":
			return nil, &Error{Sentence: fmt.Sprintf("credentials for %s: %s is set, but %s is not: %s", host, from.user, from.password, from.hint)}
		}
		return authn.FromConfig(authn.AuthConfig{Username: from.login.User, Password: from.login.Password}), nil
	}
	if !isECR {
		return k.fromFiles(ctx, target)
	}
	login, err := k.ecr.login(ctx, k.credentials, target)
	var told *Error
	if err == nil {
		return authn.FromConfig(authn.AuthConfig{Username: login.User, Password: login.Password}), nil
	} else if errors.As(err, &told) {
		return nil, err
	}
	if named == nil {
		if auth, err := k.fromFiles(ctx, target); err == nil && auth != authn.Anonymous {
			return auth, nil
		}
	}
	return nil, &Error{fmt.Sprintf("%s gives no password: %s; AWS says: %s", host, k.credentials.advice(target), k.redact(FirstLine(err))), err}
}

// fromFiles asks podman's files before docker's: go-containerregistry's own
// keychain looks at podman's only on machines without docker's.
func (k *keychain) fromFiles(ctx context.Context, target authn.Resource) (authn.Authenticator, error) {
	for _, path := range k.credentials.AuthFiles {
		auth, err := fromAuthFile(path, target)
		if err != nil {
			return nil, fmt.Errorf("credentials for %s: %w", target.RegistryStr(), err)
		}
		if auth != nil {
			return auth, nil
		}
	}
	auth, err := authn.Resolve(ctx, authn.DefaultKeychain, target)
	if err != nil {
		return nil, fmt.Errorf("credentials for %s: docker's configuration: %w", target.RegistryStr(), err)
	}
	return auth, nil
}

// fromAuthFile looks a registry up as podman does: for the repository, its
// namespaces from the inside out, then the host.
func fromAuthFile(path string, target authn.Resource) (authn.Authenticator, error) {
	file, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	stored, err := config.LoadFromReader(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, key := range lookups(target) {
		found, err := stored.GetAuthConfig(key)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		found.ServerAddress = ""
		if found != (types.AuthConfig{}) {
			return authn.FromConfig(authn.AuthConfig{Username: found.Username, Password: found.Password, Auth: found.Auth,
				IdentityToken: found.IdentityToken, RegistryToken: found.RegistryToken}), nil
		}
	}
	return nil, nil
}

func lookups(target authn.Resource) []string {
	var keys []string
	for key := target.String(); strings.Contains(key, "/"); key = key[:strings.LastIndex(key, "/")] {
		keys = append(keys, key)
	}
	if host := target.RegistryStr(); host == dockerHub {
		return append(keys, "docker.io", authn.DefaultAuthKey)
	}
	return append(keys, target.RegistryStr())
}

// hide takes note of what must appear in no message, in the forms in which it
// travels.
func (k *keychain) hide(target authn.Resource, given *authn.AuthConfig) {
	if given.Password+given.Auth+given.IdentityToken+given.RegistryToken == "" {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if owner := k.credentials.owner(target); !slices.Contains(k.offers, owner) {
		k.offers = append(k.offers, owner)
	}
	if s := shownTo(target.RegistryStr(), given); !slices.Contains(k.shown, s) {
		k.shown = append(k.shown, s)
	}
	for _, secret := range []string{
		given.Password, given.Auth, given.IdentityToken, given.RegistryToken,
		base64.StdEncoding.EncodeToString([]byte(given.Username + ":" + given.Password)),
	} {
		if len(secret) > 3 && !slices.Contains(k.secrets, secret) {
			k.secrets = append(k.secrets, secret)
		}
	}
}

// maxTokens is how many tokens are remembered; older ones have expired.
const maxTokens = 1000

// conceal takes note of a token that a registry has given.
func (k *keychain) conceal(token string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(token) > 3 && !slices.Contains(k.tokens, token) {
		k.tokens = append(k.tokens, token)
		k.tokens = k.tokens[max(0, len(k.tokens)-maxTokens):]
	}
}

// redact blackens every secret in a text.
func (k *keychain) redact(text string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, secret := range slices.Concat(k.secrets, k.tokens) {
		text = strings.ReplaceAll(text, secret, "***")
	}
	return text
}
