package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// A Error is what a registry would not do, in a sentence that says
// what to do about it and holds no secret.
type Error struct {
	Sentence string
	Err      error
}

func (e *Error) Error() string { return e.Sentence }

// Unwrap returns the cause. Its text may hold what the sentence leaves out.
func (e *Error) Unwrap() error { return e.Err }

// Explain turns what went wrong with a repository into a sentence.
func (c *Client) Explain(repository authn.Resource, err error) error {
	var told *Error
	if err == nil || errors.As(err, &told) || errors.Is(err, context.Canceled) {
		return err
	}
	return &Error{c.keys.redact(c.sentence(repository, err)), err}
}

func (c *Client) sentence(repository authn.Resource, err error) string {
	host := repository.RegistryStr()
	var unknownCA x509.UnknownAuthorityError
	var wrongName x509.HostnameError
	var invalid x509.CertificateInvalidError
	var noTLS tls.RecordHeaderError
	var refused *net.OpError
	switch status := statusOf(err); {
	case errors.As(err, &refused) && refused.Op == "dial":
		return fmt.Sprintf("%s cannot be reached: %v", host, refused.Err)
	case errors.Is(err, errPlain):
		return fmt.Sprintf("%s does not speak https, and %v: set insecure: true for it in spacktainers.yaml if that is meant", host, errPlain)
	case errors.Is(err, errRealm):
		return fmt.Sprintf("%s: %v", host, errRealmOf(err))
	case isImmutable(err):
		return fmt.Sprintf("%s keeps its tags as they are (they are immutable): %s: publish a new version, or exempt such tags there", host, FirstLine(err))
	case errors.As(err, &unknownCA):
		return fmt.Sprintf("%s shows a certificate of an authority that this machine does not know: put the authority's certificate into /etc/containers/certs.d/%s/ca.crt, or name it in SSL_CERT_FILE", host, host)
	case errors.As(err, &wrongName), errors.As(err, &invalid):
		return fmt.Sprintf("%s shows a certificate that does not hold: %v", host, FirstLine(err))
	case errors.As(err, &noTLS), strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		return fmt.Sprintf("%s speaks plain http, which is refused: set insecure: true for it in spacktainers.yaml if that is meant", host)
	case status == http.StatusUnauthorized && c.keys.offered(repository):
		return fmt.Sprintf("%s refuses the credentials: they are wrong or have expired: %s", host, c.keys.credentials.advice(repository))
	case status == http.StatusUnauthorized:
		return fmt.Sprintf("%s asks for credentials, and there are none: %s", host, c.keys.credentials.advice(repository))
	case status == http.StatusForbidden:
		return fmt.Sprintf("%s denies it (%s): %s", host, FirstLine(err), c.keys.credentials.advice(repository))
	case status == http.StatusInsufficientStorage || status == http.StatusRequestEntityTooLarge:
		return fmt.Sprintf("%s takes no more (status %d): it is full, or refuses a blob of this size; nothing was tagged, run again when there is room", host, status)
	case status == http.StatusTooManyRequests:
		return fmt.Sprintf("%s is asked too often (429), also after waiting as it wished: try again later, or log in for a higher limit", host)
	}
	return fmt.Sprintf("%s: %s", host, FirstLine(err))
}

// isImmutable reports whether a registry refuses to move a tag. There is no
// code for it, but all say the word.
func isImmutable(err error) bool {
	status := statusOf(err)
	return status >= 400 && status < 500 && strings.Contains(strings.ToLower(err.Error()), "immutable")
}

// errRealmOf is the part of an error that names the token service.
func errRealmOf(err error) string {
	text := FirstLine(err)
	if i := strings.Index(text, errRealm.Error()); i >= 0 {
		return text[i:]
	}
	return text
}

// statusOf is the http status of a registry's refusal; 0 if that is not it.
func statusOf(err error) int {
	var refusal *transport.Error
	if errors.As(err, &refusal) {
		return refusal.StatusCode
	}
	return 0
}

// IsNotFound reports whether a registry says that something does not exist.
func IsNotFound(err error) bool { return statusOf(err) == http.StatusNotFound }

// hopeless reports whether a failure will be the same next time.
func hopeless(err error) bool {
	var unknownCA x509.UnknownAuthorityError
	var wrongName x509.HostnameError
	var invalid x509.CertificateInvalidError
	var noTLS tls.RecordHeaderError
	var noHost *net.DNSError
	return errors.Is(err, errPlain) || errors.Is(err, errRealm) || errors.Is(err, errRedirects) || errors.Is(err, errInward) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &unknownCA) || errors.As(err, &wrongName) || errors.As(err, &invalid) || errors.As(err, &noTLS) ||
		errors.As(err, &noHost) && noHost.IsNotFound || strings.Contains(err.Error(), "HTTP response to HTTPS client")
}

// FirstLine is the first line of an error, of 400 bytes at the most.
func FirstLine(err error) string {
	line, _, _ := strings.Cut(strings.TrimSpace(err.Error()), "\n")
	if len(line) > 400 {
		line = line[:400] + "…"
	}
	return line
}

// offered reports whether credentials for a repository were shown to its registry.
func (k *keychain) offered(target authn.Resource) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Contains(k.offers, k.credentials.owner(target))
}

// IsHidden tells a repository that is kept secret from wrong credentials.
func IsHidden(host string, err error) bool {
	var refusal *transport.Error
	if !errors.As(err, &refusal) || refusal.Request == nil || !strings.HasPrefix(refusal.Request.URL.Path, "/v2/") {
		return false
	}
	return refusal.StatusCode == http.StatusForbidden || refusal.StatusCode == http.StatusUnauthorized && host == dockerHub
}

// IsDenied reports whether a registry says that it is not allowed, or wants
// other credentials.
func IsDenied(err error) bool {
	return statusOf(err) == http.StatusUnauthorized || statusOf(err) == http.StatusForbidden
}

// IsRefusal reports whether a registry answered with a refusal other than that
// something does not exist.
func IsRefusal(err error) bool { return statusOf(err) != 0 && !IsNotFound(err) }
