package registry

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
)

// Origin tells where the login for a repository comes from, by the names of variables and never their
// values, or what is missing and what can be done. No registry is asked. Where aws is true the
// standard AWS chain has something to ask Amazon's registry with.
func (c Credentials) Origin(ctx context.Context, target authn.Resource, aws bool) (string, error) {
	host := target.RegistryStr()
	named := c.named(target)
	from, hasSource := c.source(host)
	_, isECR := parseECR(host)
	switch {
	case named != nil && isECR && named.AWS.ID != "":
		return named.Name + "_ACCESS_KEY_ID is set", nil
	case named == nil && isECR && aws:
		return "by the standard AWS chain", nil
	case named != nil && !isECR && named.Login != (Login{}):
		if _, err := named.resolve(); err != nil {
			return "", err
		}
		return fmt.Sprintf("%[1]s_USER and %[1]s_PASSWORD are set", named.Name), nil
	case named == nil && hasSource && from.login != (Login{}):
		if from.login.User == "" || from.login.Password == "" {
			return "", errors.New(c.advice(target))
		}
		return from.user + " and " + from.password + " are set", nil
	}
	if named == nil {
		k := keychain{credentials: c}
		if auth, err := k.fromFiles(ctx, target); err != nil {
			return "", errors.New(k.redact(err.Error()))
		} else if auth != authn.Anonymous {
			return "in an auth file of podman or docker", nil
		}
	}
	return "", errors.New(c.advice(target))
}
