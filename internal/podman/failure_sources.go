package podman

import (
	"net/url"
	"slices"
	"strings"
)

// A Refusal is why a source could not be fetched from one place.
type Refusal struct {
	Place string // a host, or what Spack calls it
	Why   string
}

// Unfetched returns why sources could not be fetched, each reason of a place once, and whether that is all that failed.
func (f *Failure) Unfetched() (refusals []Refusal, ok bool) {
	for _, p := range f.Packages {
		at := slices.IndexFunc(p.Tail, func(line string) bool { return strings.Contains(line, "FetchError: All fetchers failed") })
		if at < 0 {
			return nil, false
		}
		for _, line := range p.Tail[at+1:] {
			place, why, found := strings.Cut(strings.TrimSpace(line), ": ")
			r := Refusal{placeOf(place), why}
			if found && !slices.Contains(refusals, r) {
				refusals = append(refusals, r)
			}
		}
	}
	return refusals, len(f.Packages) > 0
}

// placeOf is the host of what Spack fetches from, such as https://example.org/a.tar.gz or
// [git] git@example.org:a.git commit=abc.
func placeOf(fetcher string) string {
	for word := range strings.FieldsSeq(fetcher) {
		if u, err := url.Parse(word); err == nil && u.Host != "" {
			return u.Host
		}
		if _, host, ok := strings.Cut(word, "@"); ok {
			host, _, _ = strings.Cut(host, ":")
			return host
		}
	}
	return fetcher
}
