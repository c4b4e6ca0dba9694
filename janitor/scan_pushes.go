package janitor

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// maxPushed is the size of the biggest spec blob that is read before its
// manifest is there.
const maxPushed = 64 << 20

// readPushes reads young blobs that no manifest names: a push writes the spec
// blob before its manifest, and relies on what the spec needs.
func (r *scanner) readPushes(ctx context.Context) error {
	var lone []objectID
	for i := range r.of(Blob) {
		o := r.objects.at(i)
		if o.of == 0 && o.size <= maxPushed && r.began.Sub(o.time()) < r.opts.young {
			lone = append(lone, i)
		}
	}
	dags := make([][]*buildcache.Spec, len(lone))
	err := r.opts.each(ctx, "read what is being pushed", len(lone), func(ctx context.Context, n int) (err error) {
		dags[n], err = r.pushed(ctx, r.objects.key(lone[n]))
		return err
	})
	for n, nodes := range dags {
		for _, node := range nodes {
			r.dag.add(node)
		}
		if len(nodes) > 0 {
			at := r.dag.intern(nodes[0].Hash)
			r.pushes = append(r.pushes, push{at, r.objects.at(lone[n]).time()})
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
	counted := &countingReader{r: body}
	in := bufio.NewReader(counted)
	text := bufio.NewReader(in)
	if head, _ := in.Peek(2); len(head) == 2 && hex.EncodeToString(head) == "1f8b" {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, counted.err
		}
		text = bufio.NewReader(z)
	}
	if first, _ := text.Peek(1); len(first) == 0 || first[0] != '{' {
		return nil, counted.err
	}
	data, err := io.ReadAll(io.LimitReader(text, maxPushed))
	if err != nil {
		return nil, counted.err
	}
	return data, counted.err
}
