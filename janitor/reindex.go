package janitor

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp/clearsign"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Reindex writes the index of each layout anew from the spec files, as spack
// buildcache update-index does. Views stay as they are. With dry it only says
// how many specs there would be, by index.
//
// A spec file that cannot be read stops it. One whose tarball is missing gets
// no entry as cached: nobody could install it.
func (j Janitor) Reindex(ctx context.Context, dry bool) (specs map[string]int, err error) {
	specs = map[string]int{}
	work := func(ctx context.Context) error {
		s, err := NewScan(ctx, j.Store, j.Scan)
		if err != nil {
			return err
		}
		for layout, key := range map[int]string{2: indexV2, 3: indexV3} {
			if !slices.ContainsFunc(s.hashes(), func(h buildcache.Hash) bool { return s.hasLayout(h, layout) }) {
				continue
			}
			e, err := j.fromSpecFiles(ctx, s, layout)
			if err != nil {
				return err
			}
			for _, r := range e.records {
				if r.cached {
					specs[key]++
				}
			}
			if !dry {
				if err := j.replace(ctx, key, layout, e); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if dry {
		return specs, work(ctx)
	}
	return specs, j.leased(ctx, "reindex", work)
}

// replace puts an index in place of the one that is there, or where none is.
func (j Janitor) replace(ctx context.Context, key string, layout int, e *entries) error {
	err := j.swap(ctx, key, func(*index) (*entries, error) { return e, nil }, func(Replacement) error { return nil })
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	data := e.bytes()
	if layout == 2 {
		opts := buildcache.PutOptions{ContentType: "application/json", CacheControl: "no-cache", Condition: buildcache.Condition{IfNoneMatch: true}}
		if _, err := j.Store.Put(ctx, indexV2, bytes.NewReader(data), int64(len(data)), opts); err != nil {
			return fmt.Errorf("write %s: %w", indexV2, err)
		}
		return putHash(ctx, j.Store, data)
	}
	b := buildcache.Blob{Size: int64(len(data)), MediaType: buildcache.MediaTypeIndex, Compression: "none", Algorithm: "sha256", Checksum: checksum(data)}
	if _, err := j.Store.Put(ctx, b.Key(), bytes.NewReader(data), b.Size, buildcache.PutOptions{}); err != nil {
		return fmt.Errorf("write %s: %w", b.Key(), err)
	}
	// A manifest whose blob is missing is there, and of no use.
	text := manifestText(b)
	if _, err := j.Store.Put(ctx, key, bytes.NewReader(text), int64(len(text)), buildcache.PutOptions{}); err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	return nil
}

// fromSpecFiles makes the entries of a layout's index.
func (j Janitor) fromSpecFiles(ctx context.Context, s *Scan, layout int) (*entries, error) {
	var hashes []buildcache.Hash
	for _, h := range s.hashes() {
		if s.hasLayout(h, layout) {
			hashes = append(hashes, h)
		}
	}
	dags := make([][]json.RawMessage, len(hashes))
	opts := j.Scan
	opts.Parallel = max(opts.Parallel, 16)
	r := &scanner{Scan: s, store: j.Store, opts: opts}
	err := r.each(ctx, len(hashes), func(ctx context.Context, i int) (err error) {
		dags[i], err = r.rawDAG(ctx, hashes[i], layout)
		return err
	})
	if err != nil {
		return nil, err
	}
	version := map[int]string{2: "7", 3: "8"}[layout]
	for _, x := range s.indexes {
		if x.layout == layout {
			version = x.entries.version
		}
	}
	e, err := parseEntries(fmt.Appendf(nil, `{"database":{"version":%q,"installs":{}}}`, version))
	if err != nil {
		return nil, err
	}
	var all []*record
	at := map[buildcache.Hash]*record{}
	for i, hash := range hashes {
		cached := len(s.Specs[hash].Missing) == 0
		for n, raw := range dags[i] {
			rec, err := recordOf(raw)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.Specs[hash], err)
			}
			old := at[rec.hash]
			if old == nil {
				at[rec.hash] = rec
				all = append(all, rec)
				old = rec
			}
			if n == 0 && cached {
				*old = *old.patch(old.refs, true)
			}
		}
	}
	return e.with(all, nil), nil
}

func recordOf(raw json.RawMessage) (*record, error) {
	var n struct{ Hash string }
	if err := json.Unmarshal(raw, &n); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return nil, err
	}
	return parseRecord(buildcache.Hash(n.Hash), fmt.Appendf(nil, `%q:{"spec":%s,"ref_count":0,"in_buildcache":false}`, n.Hash, b.Bytes()))
}

// rawDAG reads the nodes of a spec file as they stand there, the spec first.
func (r *scanner) rawDAG(ctx context.Context, hash buildcache.Hash, layout int) ([]json.RawMessage, error) {
	key, text, err := r.specText(ctx, hash, layout)
	if err != nil {
		return nil, err
	}
	var f struct {
		Spec struct{ Nodes []json.RawMessage }
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, unreadable(key, err)
	}
	if len(f.Spec.Nodes) == 0 {
		return nil, unreadable(key, fmt.Errorf("%w: no nodes", buildcache.ErrFormat))
	}
	first, err := buildcache.ParseSpec(f.Spec.Nodes[0])
	if err != nil || first.Hash != hash {
		return nil, unreadable(key, fmt.Errorf("%w: it is not about %s: %w", buildcache.ErrFormat, hash, err))
	}
	return f.Spec.Nodes, nil
}

// specText returns the JSON of a spec file, without its signature.
func (r *scanner) specText(ctx context.Context, hash buildcache.Hash, layout int) (key string, text []byte, err error) {
	for _, o := range slices.Backward(r.Specs[hash].Objects) { // .spec.json.sig before .spec.json
		switch {
		case layout == 2 && o.Kind == SpecFile:
			data, _, err := get(ctx, r.store, o.Key)
			if err == nil && strings.HasSuffix(o.Key, ".sig") {
				block, _ := clearsign.Decode(data)
				if block == nil {
					return o.Key, nil, unreadable(o.Key, buildcache.ErrFormat)
				}
				data = block.Plaintext
			}
			return o.Key, data, err
		case layout == 3 && o.Kind == Manifest:
			for _, b := range r.blobs[o.Key] {
				if b.MediaType == buildcache.MediaTypeSpec {
					data, err := r.unpacked(ctx, b)
					return o.Key, data, err
				}
			}
		}
	}
	return "", nil, fmt.Errorf("%s: %w: no spec file", hash, buildcache.ErrFormat)
}

func (r *scanner) unpacked(ctx context.Context, b buildcache.Blob) ([]byte, error) {
	data, _, err := get(ctx, r.store, b.Key())
	if err != nil {
		return nil, err
	}
	if checksum(data) != b.Checksum {
		return nil, unreadable(b.Key(), buildcache.ErrChecksum)
	}
	if b.Compression != "gzip" {
		return data, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, unreadable(b.Key(), err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		return nil, unreadable(b.Key(), err)
	}
	return text, nil
}
