package janitor

import (
	"fmt"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// parseRecords reads entries of an index that stand by themselves.
func parseRecords(texts []string) ([]*record, error) {
	var records []*record
	for _, text := range texts {
		key, _, ok := strings.Cut(strings.TrimPrefix(text, `"`), `"`)
		if !ok {
			return nil, fmt.Errorf("index entry: %w", buildcache.ErrFormat)
		}
		r, err := parseRecord(buildcache.Hash(key), []byte(text))
		if err != nil {
			return nil, fmt.Errorf("index entry %s: %w", key, err)
		}
		records = append(records, r)
	}
	return records, nil
}
