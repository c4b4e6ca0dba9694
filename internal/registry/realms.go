package registry

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/google/go-containerregistry/pkg/authn"
)

// A registry names the service that makes tokens for it, and that service gets
// the user's password. So a password goes only to the registry it is for, to
// hosts of the same domain, and to those that the user names.

// errRealm is the refusal to show credentials to a stranger.
var errRealm = errors.New("its credentials go to its own domain only")

// allow looks at the credentials that a request carries, and refuses to send
// them to a host that they are not for. It takes note of tokens, which must
// appear in no message.
func (k *keychain) allow(request *http.Request) error {
	scheme, value, _ := strings.Cut(request.Header.Get("Authorization"), " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		k.conceal(value)
		return nil
	case strings.EqualFold(scheme, "Basic"):
		return k.allowSecret(request.URL, func(s shown) bool { return s.basic == value })
	case request.Method == http.MethodPost && request.GetBody != nil && strings.HasPrefix(request.Header.Get("Content-Type"), "application/x-www-form-urlencoded"):
		form, err := formOf(request)
		if err != nil {
			return err
		}
		return k.allowSecret(request.URL, func(s shown) bool {
			return s.password != "" && form.Get("password") == s.password || s.token != "" && form.Get("refresh_token") == s.token
		})
	}
	return nil
}

func formOf(request *http.Request) (url.Values, error) {
	body, err := request.GetBody()
	if err != nil {
		return nil, err
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, 64<<10))
	if err != nil {
		return nil, err
	}
	return url.ParseQuery(string(text))
}

// shown are credentials that were handed out for a registry.
type shown struct{ host, basic, password, token string }

func shownTo(host string, given *authn.AuthConfig) shown {
	basic := given.Auth
	if basic == "" && given.Username+given.Password != "" {
		basic = base64.StdEncoding.EncodeToString([]byte(given.Username + ":" + given.Password))
	}
	return shown{host, basic, given.Password, given.IdentityToken}
}

// allowSecret refuses an address for credentials unless it is one of a
// registry that they were handed out for.
func (k *keychain) allowSecret(address *url.URL, matches func(shown) bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	owner := ""
	for _, s := range k.shown {
		if !matches(s) {
			continue
		}
		if sameDomain(s.host, address.Host) || slices.Contains(k.realms, address.Host) {
			return nil
		}
		owner = s.host
	}
	if owner == "" {
		return nil // a token service's own, or none of ours
	}
	return fmt.Errorf("%w: %s sends logins to %s: if that is right, give its registry realm: %s in spacktainers.yaml", errRealm, owner, address.Host, address.Host)
}

// sameDomain reports whether two hosts are one, or belong to the same
// registered domain.
func sameDomain(a, b string) bool {
	a, b = bare(a), bare(b)
	if a == b || isLoopback(a) && isLoopback(b) {
		return true
	}
	if net.ParseIP(a) != nil || net.ParseIP(b) != nil {
		return false
	}
	domain, err := publicsuffix.EffectiveTLDPlusOne(a)
	other, otherErr := publicsuffix.EffectiveTLDPlusOne(b)
	return err == nil && otherErr == nil && domain == other
}

// bare is a host without its port.
func bare(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.Trim(host, "[]"))
}
