package s3test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// list answers ListObjectsV2. Its token is the last key of the page.
func (s *Stub) list(w http.ResponseWriter, query url.Values) {
	prefix, delimiter, after := query.Get("prefix"), query.Get("delimiter"), query.Get("continuation-token")
	size := s.PageSize
	if size == 0 {
		size = 1000
	}
	var contents, folders strings.Builder
	n, last, truncated := 0, "", false
	seen := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(s.objects)) {
		rest, ok := strings.CutPrefix(key, prefix)
		if !ok || key <= after {
			continue
		}
		folder, _, below := strings.Cut(rest, delimiter)
		folder = prefix + folder + delimiter
		below = below && delimiter != ""
		if below && (seen[folder] || strings.HasPrefix(after, folder)) {
			last = key
			continue
		}
		if n == size {
			truncated = true
			break
		}
		n, last = n+1, key
		if below {
			seen[folder] = true
			fmt.Fprintf(&folders, "<CommonPrefixes><Prefix>%s</Prefix></CommonPrefixes>", url.QueryEscape(folder))
			continue
		}
		o := s.objects[key]
		layout := "2006-01-02T15:04:05.000Z"
		if s.NoMilliseconds {
			layout = "2006-01-02T15:04:05Z"
		}
		fmt.Fprintf(&contents, "<Contents><Key>%s</Key><LastModified>%s</LastModified><ETag>%s</ETag><Size>%d</Size></Contents>",
			url.QueryEscape(key), o.written.UTC().Format(layout), escape(o.etag()), len(o.data))
	}
	token := ""
	if truncated || s.LastToken && n > 0 {
		token = "<NextContinuationToken>" + escape(last) + "</NextContinuationToken>"
	}
	fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><EncodingType>url</EncodingType><KeyCount>%d</KeyCount><IsTruncated>%v</IsTruncated>%s%s%s</ListBucketResult>`,
		n, truncated, token, contents.String(), folders.String())
}
