package registry

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// A Registry is where images go: PREFIXNAME, with NAME that of the container.
type Registry struct {
	Prefix       string   // ghcr.io/openbraininstitute/spack-
	Environments []string // staging, production, ...; empty: all
	Insecure     bool     // plain http also beyond loopback
	Realm        string   // host of its token service, where that is in another domain
	Credentials  string   // name of the variables with its login: see Named
}

// Serves reports whether the registry belongs to an environment.
func (r Registry) Serves(environment string) bool {
	return len(r.Environments) == 0 || slices.Contains(r.Environments, environment)
}

// Host is the registry's own name, with the port.
func (r Registry) Host() string {
	host, _, _ := strings.Cut(r.Prefix, "/")
	return host
}

// Repository is where the images of a container go. Registries take lower-case
// names only, but GitHub's organisations, for one, are often written otherwise.
func (r Registry) Repository(container string) (name.Repository, error) {
	host, path, ok := strings.Cut(r.Prefix, "/")
	if !ok {
		path = ""
	}
	var options []name.Option
	if r.Insecure {
		options = append(options, name.Insecure)
	}
	options = append(options, name.StrictValidation)
	repository, err := name.NewRepository(host+"/"+strings.ToLower(path+container), options...)
	if ok && err == nil {
		return repository, nil
	}
	if _, err := name.NewRepository(host+"/"+strings.ToLower(path)+"x", options...); ok && err == nil {
		return name.Repository{}, fmt.Errorf("%q is no name of a container: it has lower-case letters, digits, and - _ . between them", container)
	}
	return name.Repository{}, fmt.Errorf("registry prefix %q: write HOST/PATH, such as ghcr.io/organisation/spack- or 127.0.0.1:5000/", r.Prefix)
}

// isLoopback reports whether a host, with or without a port, is this machine.
func isLoopback(host string) bool {
	if bare, _, err := net.SplitHostPort(host); err == nil {
		host = bare
	}
	host = strings.Trim(host, "[]")
	ip := net.ParseIP(host)
	return isLocalhost(host) || ip != nil && ip.IsLoopback()
}

// isLocalhost reports whether a name is this machine's by definition (RFC
// 6761).
func isLocalhost(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}
