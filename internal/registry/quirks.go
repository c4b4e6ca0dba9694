package registry

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// maxManifest is the size that a manifest, or a page of a list, may have. The
// specification asks registries to take 4 MiB.
const maxManifest = 16 << 20

var (
	manifestPath = regexp.MustCompile(`^/v2/.+/manifests/[^/]+$`)
	uploadPath   = regexp.MustCompile(`^/v2/.+/blobs/uploads/`)
)

// quirks makes of what registries answer what they should have answered, so
// that nothing behind it has to know:
//   - manifests with a media type that is not theirs, or with parameters, or
//     without a digest: all of these are told by the manifest itself
//   - HEAD that is refused, or lacks the digest, the length or a media type: GET
//   - an upload that goes on under another scheme at the same host, as behind
//     proxies
type quirks struct{ inner http.RoundTripper }

// RoundTrip satisfies http.RoundTripper.
func (q quirks) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Method == http.MethodPut && request.GetBody != nil && request.Body != nil {
		// It may be here again with another token, and its body read.
		request.Body.Close()
		var err error
		if request, err = renew(request); err != nil {
			return nil, err
		}
	}
	response, err := q.inner.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	if uploadPath.MatchString(request.URL.Path) {
		keepScheme(request.URL, response.Header, "Location")
	}
	if !manifestPath.MatchString(request.URL.Path) {
		return response, nil
	}
	switch {
	case request.Method == http.MethodGet && response.StatusCode == http.StatusOK:
		return described(response)
	case request.Method == http.MethodHead && (response.StatusCode == http.StatusMethodNotAllowed || response.StatusCode == http.StatusOK && !describes(response)):
		response.Body.Close()
		return q.headByGet(request)
	}
	return response, nil
}

func (q quirks) headByGet(request *http.Request) (*http.Response, error) {
	get := request.Clone(request.Context())
	get.Method = http.MethodGet
	response, err := q.inner.RoundTrip(get)
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusOK {
		if response, err = described(response); err != nil {
			return nil, err
		}
	}
	response.Body.Close()
	response.Body, response.Request = http.NoBody, request
	return response, nil
}

// describes reports whether the answer to a HEAD tells all that is needed.
func describes(response *http.Response) bool {
	_, err := v1.NewHash(response.Header.Get("Docker-Content-Digest"))
	kind := types.MediaType(response.Header.Get("Content-Type"))
	return err == nil && response.ContentLength >= 0 && (kind.IsIndex() || kind.IsImage() || kind == typeArtifact)
}

// described reads a manifest whole and writes what it is into the header. One
// of which that cannot be told keeps what the registry says.
func described(response *http.Response) (*http.Response, error) {
	raw, err := readBounded(response.Body, "manifest "+response.Request.URL.Path)
	response.Body.Close()
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(raw))
	response.ContentLength = int64(len(raw))
	response.Header.Set("Content-Length", strconv.Itoa(len(raw)))
	kind, err := mediaTypeOf(raw, types.MediaType(response.Header.Get("Content-Type")))
	if err != nil {
		return response, nil // who reads it will see
	}
	response.Header.Set("Content-Type", string(kind))
	if !kind.IsSchema1() { // its digest is not that of its bytes
		response.Header.Set("Docker-Content-Digest", DigestOf(raw).String())
	}
	return response, nil
}

func readBounded(from io.Reader, what string) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(from, maxManifest+1))
	if err == nil && len(text) > maxManifest {
		err = fmt.Errorf("%s has more than %d MiB: it is not read", what, maxManifest>>20)
	}
	return text, err
}

// keepScheme makes an address in a header go on under the scheme of a request
// to the same host.
func keepScheme(asked *url.URL, header http.Header, name string) {
	address, err := url.Parse(header.Get(name))
	if err == nil && address.Host == asked.Host && address.Scheme != asked.Scheme {
		address.Scheme = asked.Scheme
		header.Set(name, address.String())
	}
}
