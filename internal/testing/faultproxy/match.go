package faultproxy

import (
	"net/http"
	"strings"
)

// What a rule can match. They combine with And.

// IsList matches a page of a listing.
func IsList(r Request) bool { return r.Method == http.MethodGet && r.Query.Has("list-type") }

// IsGet matches the reading of an object.
func IsGet(r Request) bool {
	return r.Method == http.MethodGet && !r.Query.Has("list-type") && strings.Count(r.Path, "/") > 1
}

// IsPut matches a single upload.
func IsPut(r Request) bool { return r.Method == http.MethodPut }

// IsBatchDelete matches a request that deletes several objects.
func IsBatchDelete(r Request) bool { return r.Method == http.MethodPost && r.Query.Has("delete") }

// IsWrite matches whatever could change something.
func IsWrite(r Request) bool { return r.Method != http.MethodGet && r.Method != http.MethodHead }

// Key matches requests for the object of this key in any bucket.
func Key(key string) func(Request) bool {
	return func(r Request) bool {
		_, rest, _ := strings.Cut(strings.TrimPrefix(r.Path, "/"), "/")
		return rest == key
	}
}

// And matches what all of them match.
func And(matches ...func(Request) bool) func(Request) bool {
	return func(r Request) bool {
		for _, match := range matches {
			if !match(r) {
				return false
			}
		}
		return true
	}
}
