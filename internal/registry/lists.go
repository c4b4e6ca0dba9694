package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// maxEntries is how many tags or attached documents are read of a list,
// maxIdlePages how many of its pages in a row may bring nothing new, and
// maxIdlePasses how often in a row it is read again for nothing when its pages
// do not agree.
const (
	maxEntries    = 1 << 20
	maxIdlePages  = 100
	maxIdlePasses = 8
)

// A page takes a page of a list and returns how many entries it has, and how
// many of them were not seen before.
type page func(text []byte) (entries, fresh int, err error)

// list reads a list whole. Its pages may disagree about the order, and then
// have an entry twice and lack another one: it is read again until as many
// were seen as the list has, or until that brings nothing: a registry may also
// send the same page again.
func (c *Client) list(ctx context.Context, repository name.Repository, first *http.Response, accept types.MediaType, take page) error {
	address := first.Request.URL.String()
	seen := 0
	for idle := 0; ; {
		total, before := 0, seen
		err := c.pages(ctx, repository, first, accept, func(text []byte) (int, int, error) {
			entries, fresh, err := take(text)
			total, seen = total+entries, seen+fresh
			return entries, fresh, err
		})
		if err != nil || seen >= total {
			return err
		}
		if idle++; seen > before {
			idle = 0
		}
		if idle == maxIdlePasses {
			return nil
		}
		if first, err = c.read(ctx, repository, address, accept); err != nil {
			return err
		}
		if err := transport.CheckError(first, http.StatusOK); err != nil {
			first.Body.Close()
			return err
		}
	}
}

// pages follows a list's links from page to page. A list that goes on and
// brings nothing new is an error.
func (c *Client) pages(ctx context.Context, repository name.Repository, first *http.Response, accept types.MediaType, take page) error {
	total, idle := 0, 0
	asked := map[string]bool{}
	for response := first; ; {
		body, err := readBounded(response.Body, "a page of "+response.Request.URL.Path)
		response.Body.Close()
		if err != nil {
			return err
		}
		entries, fresh, err := take(body)
		if err != nil {
			return err
		}
		next, err := nextPage(response)
		if next == "" || err != nil {
			return err
		}
		if total += entries; total > maxEntries {
			return fmt.Errorf("the list has more than %d entries", maxEntries)
		}
		if idle++; fresh > 0 {
			idle = 0
		}
		if idle > maxIdlePages || asked[next] {
			return errors.New("the list goes on without an end: its pages bring nothing new")
		}
		asked[next] = true
		if response, err = c.read(ctx, repository, next, accept); err != nil {
			return err
		}
		if err := transport.CheckError(response, http.StatusOK); err != nil {
			response.Body.Close()
			return err
		}
	}
}

// nextPage is the address of the page behind one; empty at the end. It stays
// at the same host, and keeps the scheme also behind a proxy that does not
// tell it.
func nextPage(response *http.Response) (string, error) {
	for _, header := range response.Header.Values("Link") {
		for link := range strings.SplitSeq(header, ",") {
			target, parameters, ok := strings.Cut(strings.TrimSpace(link), ">")
			if !ok || !strings.HasPrefix(target, "<") || !isNext(parameters) {
				continue
			}
			parsed, err := response.Request.URL.Parse(target[1:])
			if err != nil {
				return "", errors.New("the link to the list's next page is no address")
			}
			if parsed.Host != response.Request.URL.Host {
				return "", fmt.Errorf("the link to the list's next page leads to another host, %q", parsed.Host)
			}
			return withScheme(parsed, response.Request.URL.Scheme), nil
		}
	}
	return "", nil
}

func isNext(parameters string) bool {
	for parameter := range strings.SplitSeq(parameters, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
		if strings.EqualFold(key, "rel") && slices.Contains(strings.Fields(strings.ToLower(strings.Trim(value, `"`))), "next") {
			return true
		}
	}
	return false
}

func withScheme(address *url.URL, scheme string) string {
	address.Scheme = scheme
	return address.String()
}
