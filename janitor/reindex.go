package janitor

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp/clearsign"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
	"github.com/openbraininstitute/spacktainers/janitor/lease"
	"github.com/openbraininstitute/spacktainers/janitor/listing"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// Reindex writes the index of each layout anew from the spec files, as spack
// buildcache update-index does. Views stay as they are. With dry it only says
// how many specs there would be, by index.
//
// A spec file that cannot be read stops it. One whose tarball is missing gets
// no entry as cached: it could not be installed. An index that another process
// has written meanwhile is not overwritten: all is read again.
func (j Janitor) Reindex(ctx context.Context, dry bool) (specs map[string]int, err error) {
	j = j.ready()
	if dry {
		return j.reindex(ctx, nil)
	}
	err = j.leased(ctx, "reindex", func(ctx context.Context, l *lease.Lease) error {
		for try := 0; ; try++ {
			specs, err = j.reindex(ctx, l)
			if !errors.Is(err, buildcache.ErrChanged) || try == tries {
				return err
			}
		}
	})
	return specs, err
}

// reindex reads the spec files once, and writes the indexes if there is a
// lease.
func (j *Janitor) reindex(ctx context.Context, l *lease.Lease) (map[string]int, error) {
	specs := map[string]int{}
	s, err := scan.New(ctx, j.Store, j.Scan)
	if err != nil {
		return specs, err
	}
	if s.Opaque != "" {
		return specs, fmt.Errorf("%w: %s", ErrRefused, s.Opaque)
	}
	for layout, key := range map[int]string{2: scan.IndexV2, 3: scan.IndexV3} {
		if err := j.reindexLayout(ctx, l, s, layout, key, specs); err != nil {
			return specs, err
		}
	}
	return specs, nil
}

// reindexLayout writes what names a layout's indexes, one for each version of Spack's database that
// it has now.
func (j *Janitor) reindexLayout(ctx context.Context, l *lease.Lease, s *scan.Scan, layout int, key string, specs map[string]int) (err error) {
	var texts []*text
	defer func() {
		for _, t := range texts {
			err = errors.Join(err, t.Close())
		}
	}()
	for _, version := range databaseVersions(s, layout) {
		t, n, err := j.fromSpecFiles(ctx, s, layout, version)
		if t == nil || err != nil {
			return err
		}
		texts, specs[key] = append(texts, t), n
	}
	if l == nil {
		return nil
	}
	if err := l.Hold(ctx); err != nil {
		return err
	}
	return j.replace(ctx, s, key, layout, texts)
}

// databaseVersions are those of a layout's indexes, or where it has none that which every Spack
// with this layout reads.
func databaseVersions(s *scan.Scan, layout int) (versions []string) {
	for _, x := range s.Indexes {
		if version := x.Graph.Version(); x.Layout == layout && !slices.Contains(versions, version) {
			versions = append(versions, version)
		}
	}
	if versions == nil {
		return []string{map[int]string{2: "7", 3: "8"}[layout]}
	}
	return versions
}

// replace puts indexes in place of those that a scan has seen, or where it has
// seen none.
func (j *Janitor) replace(ctx context.Context, s *scan.Scan, key string, layout int, texts []*text) error {
	cond := buildcache.Condition{IfNoneMatch: true}
	if i, ok := s.Objects.Find(key); ok { // a manifest whose blob is missing is there, and of no use
		cond = buildcache.Condition{IfMatch: s.Objects.ETag(s.Objects.At(i).ETag)}
	}
	for _, x := range s.Indexes {
		if x.Object.Key == key {
			cond = buildcache.Condition{IfMatch: x.Object.ETag}
		}
	}
	if layout == 2 {
		return putV2(ctx, j.Store, texts[0], cond)
	}
	var blobs []buildcache.Blob
	for _, t := range texts {
		b := buildcache.Blob{Size: t.graph.Size(), MediaType: buildcache.IndexMediaType(t.graph.Version()), Compression: "none", Algorithm: "sha256", Checksum: t.sum}
		if err := putBlob(ctx, j.Store, b, t); err != nil {
			return err
		}
		blobs = append(blobs, b)
	}
	return putManifest(ctx, j.Store, key, blobs, cond)
}

// fromSpecFiles makes the text of a layout's index in a version of the database, and says how many
// specs it has as cached; without any specs it is nil.
func (j *Janitor) fromSpecFiles(ctx context.Context, s *scan.Scan, layout int, version string) (_ *text, cached int, err error) {
	var files []listing.ID
	for at := range s.InCache() {
		if file, ok := s.SpecFile(at, layout); ok {
			files = append(files, file)
		}
	}
	if len(files) == 0 {
		return nil, 0, nil
	}
	opts := j.Scan
	opts.Parallel = max(opts.Parallel, 16)
	r := &specReader{s, j.Store, opts}
	all, err := r.textOf(ctx, version, files)
	if err != nil {
		return nil, 0, err
	}
	defer all.Close()
	keep := index.NewBits(all.graph.Len())
	for _, file := range files {
		at := s.Objects.At(file).Of - 1
		if i, ok := all.graph.Lookup(s.DAG.Hash(at)); ok && s.Whole(at, layout) {
			keep.Set(i)
		}
	}
	t, err := all.rewrite(keep)
	return t, keep.Count(), err
}

// A specReader reads spec files that a scan has found.
type specReader struct {
	*scan.Scan
	store buildcache.Store
	opts  scan.Options
}

// textOf makes the text of an index in a version of the database, that has all
// nodes of some spec files as cached.
func (r *specReader) textOf(ctx context.Context, version string, files []listing.ID) (*text, error) {
	database, err := strconv.Atoi(version)
	if err != nil {
		return nil, err
	}
	return newText(func(w io.Writer) error {
		fmt.Fprintf(w, `{"database":{"version":%q,"installs":{`, version)
		if err := r.writeNodes(ctx, w, files, database); err != nil {
			return err
		}
		_, err := io.WriteString(w, "}}}")
		return err
	})
}

// writeNodes writes a record for each node of some spec files, each once, in
// their order.
func (r *specReader) writeNodes(ctx context.Context, w io.Writer, files []listing.ID, database int) error {
	seen := map[buildcache.Hash]bool{}
	for chunk := range slices.Chunk(files, 256) {
		dags := make([]rawDAG, len(chunk))
		err := r.opts.Each(ctx, "read spec files for the index", len(chunk), func(ctx context.Context, i int) (err error) {
			dags[i], err = r.readDAG(ctx, chunk[i])
			return err
		})
		if err != nil {
			return err
		}
		for i, dag := range dags {
			for _, raw := range dag.nodes {
				if err := writeNode(w, raw, dag.version, database, seen); err != nil {
					return scan.Unreadable(r.Objects.Key(chunk[i]), err)
				}
			}
		}
	}
	return nil
}

func writeNode(w io.Writer, raw json.RawMessage, version, database int, seen map[buildcache.Hash]bool) error {
	n, err := buildcache.ParseSpec(raw)
	if err != nil || seen[n.Hash] {
		return err
	}
	if len(seen) > 0 {
		if _, err := io.WriteString(w, ","); err != nil {
			return err
		}
	}
	seen[n.Hash] = true
	return index.WriteRecord(w, raw, version, database)
}

// A rawDAG is what a spec file says: its nodes as they stand there, the spec first.
type rawDAG struct {
	version int // of the format
	nodes   []json.RawMessage
}

func (r *specReader) readDAG(ctx context.Context, file listing.ID) (d rawDAG, err error) {
	key, hash := r.Objects.Key(file), r.DAG.Hash(r.Objects.At(file).Of-1)
	text, err := r.specText(ctx, file)
	if err != nil {
		return d, err
	}
	var f struct {
		Spec struct {
			Meta  struct{ Version int } `json:"_meta"`
			Nodes []json.RawMessage
		}
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return d, scan.Unreadable(key, err)
	}
	if len(f.Spec.Nodes) == 0 {
		return d, scan.Unreadable(key, fmt.Errorf("%w: no nodes", buildcache.ErrFormat))
	}
	first, err := buildcache.ParseSpec(f.Spec.Nodes[0])
	if err != nil || first.Hash != hash {
		return d, scan.Unreadable(key, fmt.Errorf("%w: it is not about %s: %w", buildcache.ErrFormat, hash, err))
	}
	if note := buildcache.SpecFileFormat.Note(f.Spec.Meta.Version); note != "" {
		return d, scan.Unreadable(key, fmt.Errorf("%w: %s", buildcache.ErrFormat, note))
	}
	return rawDAG{f.Spec.Meta.Version, f.Spec.Nodes}, nil
}

// specText returns the JSON of a spec file, without its signature, or of the
// spec blob that a manifest names.
func (r *specReader) specText(ctx context.Context, file listing.ID) ([]byte, error) {
	key := r.Objects.Key(file)
	if r.Objects.At(file).Kind == scan.SpecFile {
		data, _, err := buildcache.ReadAll(ctx, r.store, key)
		if err == nil && strings.HasSuffix(key, ".sig") {
			block, _ := clearsign.Decode(data)
			if block == nil {
				return nil, scan.Unreadable(key, buildcache.ErrFormat)
			}
			data = block.Plaintext
		}
		return data, err
	}
	for _, b := range r.BlobsNamed(file) {
		if b := &r.Blobs[b]; b.Form&scan.SpecBlob != 0 {
			return r.unpacked(ctx, b)
		}
	}
	return nil, scan.Unreadable(key, fmt.Errorf("%w: it names no spec", buildcache.ErrFormat))
}

func (r *specReader) unpacked(ctx context.Context, b *scan.NamedBlob) ([]byte, error) {
	key := b.Key()
	data, _, err := buildcache.ReadAll(ctx, r.store, key)
	if err != nil {
		return nil, err
	}
	if sha256.Sum256(data) != b.Sum {
		return nil, scan.Unreadable(key, buildcache.ErrChecksum)
	}
	if b.Form&scan.ZippedBlob == 0 {
		return data, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, scan.Unreadable(key, err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		return nil, scan.Unreadable(key, err)
	}
	return text, nil
}
