package scan

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor/listing"
)

// maxPushed is the size of the biggest spec blob that is read before its
// manifest is there.
const maxPushed = 64 << 20

// readPushes reads young blobs that no manifest names: a push writes the spec
// blob before its manifest, and relies on what the spec needs.
func (r *scanner) readPushes(ctx context.Context) error {
	var lone []listing.ID
	for i := range r.Of(Blob) {
		o := r.Objects.At(i)
		if o.Of == 0 && o.Size <= maxPushed && r.began.Sub(o.Time()) < r.opts.Young {
			lone = append(lone, i)
		}
	}
	dags := make([][]*buildcache.Spec, len(lone))
	err := r.opts.Each(ctx, "read what is being pushed", len(lone), func(ctx context.Context, n int) (err error) {
		dags[n], err = r.pushed(ctx, r.Objects.Key(lone[n]))
		return err
	})
	for n, nodes := range dags {
		for _, node := range nodes {
			r.DAG.Add(node)
		}
		if len(nodes) > 0 {
			at := r.DAG.Intern(nodes[0].Hash)
			r.Pushes = append(r.Pushes, push{at, r.Objects.At(lone[n]).Time()})
		}
	}
	return err
}

// pushed returns the specs that a blob describes, or none.
func (r *scanner) pushed(ctx context.Context, key string) ([]*buildcache.Spec, error) {
	k := r.opts.Known
	k.mu.Lock()
	nodes, ok := k.pushes[key]
	k.mu.Unlock()
	if ok {
		return nodes, nil
	}
	body, _, err := r.store.Get(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &buildcache.ObjectError{Key: key, Err: err}
	}
	defer body.Close()
	text, err := specIn(body)
	if err != nil {
		return nil, &buildcache.ObjectError{Key: key, Err: err}
	}
	if text != nil {
		if nodes, err = buildcache.SpecFileNodes(text); err != nil {
			nodes = nil // a package, or damage: neither relies on anything
		}
	}
	k.mu.Lock()
	k.pushes[key] = nodes
	k.mu.Unlock()
	return nodes, nil
}

// specIn returns the JSON in a blob, or nil if it holds something else. Its
// error is that of the store.
func specIn(body io.Reader) ([]byte, error) {
	counted := &StoreReader{R: body}
	in := bufio.NewReader(counted)
	text := bufio.NewReader(in)
	if head, _ := in.Peek(2); len(head) == 2 && hex.EncodeToString(head) == "1f8b" {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, counted.Err
		}
		text = bufio.NewReader(z)
	}
	if first, _ := text.Peek(1); len(first) == 0 || first[0] != '{' {
		return nil, counted.Err
	}
	data, err := io.ReadAll(io.LimitReader(text, maxPushed))
	if err != nil {
		return nil, counted.Err
	}
	return data, counted.Err
}
