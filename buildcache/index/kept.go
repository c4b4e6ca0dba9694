package index

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A Kept is an index with its text in a file without a name, which records are read from again: in
// memory the specs of a big one are gigabytes. Close it.
type Kept struct {
	*Graph
	text *os.File
}

// ReadKept reads the indexes of a mirror as ReadMirror does, and keeps their texts.
func ReadKept(ctx context.Context, store buildcache.Store) ([]Kept, error) {
	var files []*os.File
	all, err := readMirror(ctx, store, func(r io.Reader, size int64) (Kept, string, error) {
		f, err := os.CreateTemp("", "spacktainers-index-")
		if err != nil { // not wrapped: a folder that is not there is no index that is not there
			return Kept{}, "", fmt.Errorf("keep its text: %v", err)
		}
		files = append(files, f) // that of a text that is read again is closed with the garbage
		if err := os.Remove(f.Name()); err != nil {
			return Kept{}, "", fmt.Errorf("keep its text: %v", err)
		}
		g, sum, err := ReadSum(io.TeeReader(r, f), size)
		return Kept{g, f}, sum, err
	})
	if err != nil {
		for _, f := range files {
			f.Close()
		}
	}
	return all, err
}

// Close gives the text back. What was read from it stays.
func (k Kept) Close() error { return k.text.Close() }

// Spec reads the record of an entry again.
func (k Kept) Spec(id uint32) (*buildcache.Spec, error) {
	offset, size := k.Record(id)
	record := make([]byte, size) // "HASH":{"spec":{…},…}
	if _, err := k.text.ReadAt(record, offset); err != nil {
		return nil, err
	}
	var entry map[string]struct {
		Spec json.RawMessage `json:"spec"`
	}
	if err := json.Unmarshal([]byte("{"+string(record)+"}"), &entry); err != nil {
		return nil, fmt.Errorf("%w: index: %s: %w", buildcache.ErrFormat, k.Hash(id), err)
	}
	return buildcache.ParseSpec(entry[string(k.Hash(id))].Spec)
}
