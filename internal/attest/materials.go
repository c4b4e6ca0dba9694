package attest

import (
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/image"
)

var (
	endsInSHA256     = regexp.MustCompile(`(?:^|[ :])([0-9a-f]{64})$`)
	beginsWithCommit = regexp.MustCompile(`^([0-9a-f]{40})(?: |$)`)
)

// materialOf describes an input that has a digest as in-toto has materials: by
// address and digest. What it is called here stands in the annotations, from
// which Inputs reads it back.
func materialOf(in image.Input) (resource, bool) {
	material := resource{Name: "input", URI: "urn:spacktainers:" + url.PathEscape(in.Kind),
		Annotations: map[string]string{"kind": in.Kind, "name": in.Name, "digest": in.Digest}}
	if in.Name != "" {
		material.URI += ":" + url.PathEscape(in.Name)
	}
	if repository, _, ok := strings.Cut(in.Digest, "@sha256:"); ok {
		material.URI = "oci://" + repository
	}
	if m := endsInSHA256.FindStringSubmatch(in.Digest); m != nil {
		material.Digest = map[string]string{"sha256": m[1]}
		return material, true
	}
	if m := beginsWithCommit.FindStringSubmatch(in.Digest); m != nil {
		material.Digest = map[string]string{"gitCommit": m[1]}
		return material, true
	}
	return resource{}, false
}

// builderID is the address of a CI job, or this tool: neither a user nor a
// machine.
func builderID(job string) string {
	address, err := url.Parse(job)
	if err != nil || address.Scheme != "https" && address.Scheme != "http" || address.Host == "" || address.User != nil {
		return LocalBuilder
	}
	return job
}

// public is a text without the folder of a local path.
func public(text string) string {
	local, isURL := strings.CutPrefix(text, "file://")
	if isURL || filepath.IsAbs(text) {
		return "local/" + path.Base(filepath.ToSlash(local))
	}
	return text
}
