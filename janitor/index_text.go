package janitor

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// A text is the text of an index on this machine, in a file without a name.
// Whoever made it closes it.
type text struct {
	*os.File
	graph *index.Graph
	sum   string
}

// newText writes a text, and reads it back: what cannot be read never takes
// the place of an index.
func newText(write func(io.Writer) error) (*text, error) {
	file, err := index.Scratch()
	if err != nil {
		return nil, err
	}
	t := &text{File: file}
	sum := sha256.New()
	out := bufio.NewWriterSize(io.MultiWriter(file, sum), 1<<16)
	if err = write(out); err == nil {
		err = out.Flush()
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	var info os.FileInfo
	if err == nil {
		info, err = file.Stat()
	}
	if err == nil {
		t.graph, err = index.Read(file, info.Size())
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("write an index: %w", err)
	}
	t.sum = hex.EncodeToString(sum.Sum(nil))
	return t, nil
}

// errMoved is an index that was replaced while it was read again.
var errMoved = errors.New("the index was replaced meanwhile")

// fetch gets the text of an index that was read before.
func fetch(ctx context.Context, store buildcache.Store, x *scan.Index) (*text, error) {
	body, o, err := store.Get(ctx, x.TextKey())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMoved, &buildcache.ObjectError{Key: x.TextKey(), Err: err})
	}
	defer body.Close()
	file, err := index.Scratch()
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(file, sum), body)
	if err == nil && hex.EncodeToString(sum.Sum(nil)) != x.Sum {
		err = errMoved
	}
	if err == nil && x.Layout == 2 {
		x.Object = o
	}
	if err != nil {
		file.Close()
		return nil, &buildcache.ObjectError{Key: x.TextKey(), Err: err}
	}
	return &text{File: file, graph: x.Graph, sum: x.Sum}, nil
}

// rewrite writes the text that has exactly keep as cached, with what it needs,
// and makes sure that it does.
func (t *text) rewrite(keep index.Bits) (*text, error) {
	n, err := newText(func(w io.Writer) error { return t.graph.Rewrite(w, t, keep) })
	if err != nil {
		return nil, err
	}
	cached := 0
	for _, i := range n.graph.Entries() {
		old, ok := t.graph.Lookup(n.graph.Hash(i))
		if !ok || n.graph.InCache(i) != keep.Has(old) {
			n.Close()
			return nil, fmt.Errorf("write an index: %w: it is wrong about %s", ErrUnproved, n.graph.Hash(i))
		}
		if n.graph.InCache(i) {
			cached++
		}
	}
	if cached != keep.Count() {
		n.Close()
		return nil, fmt.Errorf("write an index: %w: it has %d specs, want %d", ErrUnproved, cached, keep.Count())
	}
	return n, nil
}

// union writes the text with the entries of another one that it lacks.
func (t *text) union(other *text) (*text, error) {
	all := index.NewBits(other.graph.Len())
	for _, i := range other.graph.Entries() {
		all.Set(i)
	}
	return newText(func(w io.Writer) error { return t.graph.Append(w, t, other.graph, other, all) })
}

// withBack writes the text with specs of another one back in the cache. in
// decides of those that either has as cached: had says that it is this one.
func (t *text) withBack(other *text, in func(h buildcache.Hash, had bool) bool) (*text, error) {
	both, err := t.union(other)
	if err != nil {
		return nil, err
	}
	defer both.Close()
	keep := index.NewBits(both.graph.Len())
	for _, i := range both.graph.Entries() {
		h := both.graph.Hash(i)
		now, ok := t.graph.Lookup(h)
		was, known := other.graph.Lookup(h)
		had := ok && t.graph.InCache(now)
		if (had || known && other.graph.InCache(was)) && in(h, had) {
			keep.Set(i)
		}
	}
	return both.rewrite(keep)
}
