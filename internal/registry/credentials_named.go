package registry

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
)

// A Named is the login of the repositories below one prefix. They have no
// other: where it is missing they are asked without any, and never with that of
// the host or of an auth file, which may be a release's.
type Named struct {
	Prefix string // of a Registry
	Name   string // of the variables: NAME_USER and NAME_PASSWORD, on Amazon ECR NAME_ACCESS_KEY_ID and so on
	Login  Login
	AWS    AWSKeys
}

// AWSKeys are credentials for Amazon's API, from which passwords for ECR are
// made. The zero value stands for those of AWS's own chain.
type AWSKeys struct{ ID, Secret, Token string }

// named returns the login that a repository has for itself: of several
// prefixes the longest one's.
func (c Credentials) named(target authn.Resource) *Named {
	var found *Named
	longest := 0
	for i := range c.Named {
		prefix, err := Registry{Prefix: c.Named[i].Prefix}.normal()
		if err == nil && len(prefix) > longest && strings.HasPrefix(target.String(), prefix) {
			found, longest = &c.Named[i], len(prefix)
		}
	}
	return found
}

// owner says whose credentials a repository is asked with: a prefix, or its
// host.
func (c Credentials) owner(target authn.Resource) string {
	if n := c.named(target); n != nil {
		return n.Prefix
	}
	return target.RegistryStr()
}

// advice is what somebody without access can do.
func (n *Named) advice(target authn.Resource) string {
	if _, ok := parseECR(target.RegistryStr()); ok {
		return fmt.Sprintf("set %[1]s_ACCESS_KEY_ID and %[1]s_SECRET_ACCESS_KEY (credentials: %[1]s in spacktainers.yaml); %[2]s", n.Name, ecrRights)
	}
	return fmt.Sprintf("set %[1]s_USER and %[1]s_PASSWORD (credentials: %[1]s in spacktainers.yaml); the account needs permission to pull and push", n.Name)
}

// half is the error for a login of which one half is missing.
func (n *Named) half(set, missing string) error {
	return &Error{Sentence: fmt.Sprintf("credentials for %s: %s_%s is set, but %s_%s is not", n.Prefix, n.Name, set, n.Name, missing)}
}

// resolve returns the login, or none.
func (n *Named) resolve() (authn.Authenticator, error) {
	switch {
	case n.Login == Login{}:
		return authn.Anonymous, nil
	case n.Login.User == "":
		return nil, n.half("PASSWORD", "USER")
	case n.Login.Password == "":
		return nil, n.half("USER", "PASSWORD")
	}
	return authn.FromConfig(authn.AuthConfig{Username: n.Login.User, Password: n.Login.Password}), nil
}

// keys returns the credentials for Amazon, where nothing is without any.
func (n *Named) keys(target authn.Resource) (AWSKeys, error) {
	switch {
	case n.AWS.ID == "" && n.AWS.Secret == "":
		return AWSKeys{}, &Error{Sentence: fmt.Sprintf("%s asks for credentials, and there are none: %s", target.RegistryStr(), n.advice(target))}
	case n.AWS.ID == "":
		return AWSKeys{}, n.half("SECRET_ACCESS_KEY", "ACCESS_KEY_ID")
	case n.AWS.Secret == "":
		return AWSKeys{}, n.half("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")
	}
	return n.AWS, nil
}

// normal is the prefix as repositories' names begin with it, whatever its
// spelling.
func (r Registry) normal() (string, error) {
	repository, err := r.Repository("x")
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(repository.String(), "x"), nil
}

// Shares reports whether two registries have a repository in common for some
// containers: where a container of one is called as another one is in the other,
// such as branch-tool below org/ and tool below org/branch-.
func (r Registry) Shares(other Registry) (bool, error) {
	a, errA := r.normal()
	b, errB := other.normal()
	if err := errors.Join(errA, errB); err != nil {
		return false, err
	}
	if len(a) > len(b) {
		a, b = b, a
	}
	rest, below := strings.CutPrefix(b, a)
	return below && !strings.Contains(rest, "/"), nil // no container's name has a slash
}
