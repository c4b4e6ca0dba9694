package scan

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
	"github.com/openbraininstitute/spacktainers/janitor/dag"
	"github.com/openbraininstitute/spacktainers/janitor/listing"
)

// Real servers have left keys out of a listing without an error.
// Whatever is known from elsewhere and was not listed is asked for by itself,
// where Spack would look for it; if it is there, nothing in the listing's gaps
// can be trusted.

// A check asks for one thing that was not listed. What is really missing is
// damage, if anything refers to it.
type check func(context.Context) (*Damage, error)

// complete makes sure that all is listed that entries and manifests name.
func (r *scanner) complete(ctx context.Context) error {
	for _, x := range r.Indexes {
		i, ok := r.Objects.Find(x.Object.Key)
		if !ok && !r.tooNew(x.Object) {
			return r.incomplete(x.Object.Key)
		}
		if ok && r.AsOf.IsZero() && r.Objects.ETag(r.Objects.At(i).ETag) != x.Object.ETag {
			return fmt.Errorf("%w: %s was replaced while it was listed", ErrIncomplete, x.Object.Key)
		}
	}
	for i := range r.Of(IndexManifest) {
		if key := r.Objects.Key(i); !r.asked[key] { // it was not there when indexes were listed
			if _, err := r.unlisted(ctx, key); err != nil {
				return err
			}
		}
	}
	if err := r.unlistedKeys(ctx); err != nil {
		return err
	}
	checks, err := r.unlistedSpecs(ctx)
	if err != nil {
		return err
	}
	for at := range r.InCache() {
		if !r.DAG.Told(at) {
			return fmt.Errorf("%s: %w: nothing describes the spec", r.DAG.Hash(at), buildcache.ErrFormat)
		}
		if !r.opts.Partial && r.hasKind(at, SpecFile) && !r.hasKind(at, Tarball) {
			checks = append(checks, func(ctx context.Context) (*Damage, error) { return r.unlistedTarball(ctx, at) })
		}
	}
	for i, manifest := range r.Manifests {
		if r.opts.Partial {
			break
		}
		for _, b := range r.BlobsOf.Of(uint32(i)) {
			if r.Blobs[b].Object == 0 {
				checks = append(checks, func(ctx context.Context) (*Damage, error) { return r.unlistedBlob(ctx, manifest, r.Blobs[b].Key()) })
			}
		}
	}
	checks = append(checks, r.unlistedOwners()...)
	if r.opts.Partial {
		return r.check(ctx, checks)
	}
	absent, err := r.absentRoots()
	if err != nil {
		return err
	}
	layouts := r.layouts()
	for _, s := range absent {
		for _, layout := range layouts {
			checks = append(checks, func(ctx context.Context) (*Damage, error) {
				_, err := r.unlisted(ctx, buildcache.SpecKeys(s, layout)...)
				return nil, err
			})
		}
	}
	return r.check(ctx, checks)
}

// unlistedOwners checks what would belong to no spec because a listing has left
// the spec out: blobs of manifests that were there before, and tarballs.
func (r *scanner) unlistedOwners() (checks []check) {
	add := func(keys ...string) {
		checks = append(checks, func(ctx context.Context) (*Damage, error) {
			_, err := r.unlisted(ctx, keys...)
			return nil, err
		})
	}
	for _, key := range r.missed {
		add(key)
	}
	isSpecFile := func(o listing.ID) bool { return r.Objects.At(o).Kind == SpecFile }
	for i := range r.Of(Tarball) {
		o := r.Objects.At(i)
		if slices.ContainsFunc(r.bySpec.Of(o.Of-1), isSpecFile) || r.began.Sub(o.Time()) < margin || r.opts.Deleted([]byte(r.DAG.Hash(o.Of-1))) {
			continue // it has one, or is to get one, or we have just deleted it
		}
		stem := "build_cache/" + strings.TrimSuffix(path.Base(r.Objects.Key(i)), ".spack")
		add(stem+".spec.json", stem+".spec.json.sig")
	}
	return checks
}

func (r *scanner) check(ctx context.Context, checks []check) error {
	found := make([]*Damage, len(checks))
	err := r.opts.Each(ctx, "checked objects", len(checks), func(ctx context.Context, i int) (err error) {
		found[i], err = checks[i](ctx)
		return err
	})
	for _, d := range found {
		if d == nil {
			continue
		}
		at, ok := r.DAG.Lookup(d.Hash)
		if d.newer {
			if ok {
				r.Newer = append(r.Newer, at)
			}
			continue
		}
		r.Damage = append(r.Damage, *d)
		if ok && d.index != nil {
			d.index.Dangling.Set(at)
		} else if ok && r.Present.Has(at) {
			r.missing[at] = append(r.missing[at], d.Key)
		}
	}
	return err
}

// unlisted makes sure that none of these objects is there, or says that one
// came after the inventory.
func (r *scanner) unlisted(ctx context.Context, keys ...string) (newer bool, err error) {
	for _, key := range keys {
		body, o, err := r.store.Get(ctx, key)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return false, &buildcache.ObjectError{Key: key, Err: err}
		}
		body.Close()
		if !r.tooNew(o) {
			return false, r.incomplete(key)
		}
		newer = true
	}
	return newer, nil
}

// tooNew says that an object cannot be in the inventory.
func (r *scanner) tooNew(o buildcache.Object) bool {
	return !r.AsOf.IsZero() && o.ModTime.After(r.AsOf.Add(-margin))
}

// margin is how far two clocks may be apart, and how long an inventory takes to
// list what is there when it begins.
const margin = time.Hour

// incomplete is the error for something that is there and is not in the list that was read.
func (r *scanner) incomplete(key string) error {
	if !r.AsOf.IsZero() {
		return fmt.Errorf("%w: %s is there, but not in the inventory: have S3 list all of the mirror, without a filter, and take a newer one", ErrIncomplete, key)
	}
	return fmt.Errorf("%w: %s is there, but was not listed: try again, and if it stays like this the server's listings cannot be trusted", ErrIncomplete, key)
}

// unlistedSpecs checks the entries that indexes have as cached.
func (r *scanner) unlistedSpecs(ctx context.Context) (checks []check, err error) {
	for _, x := range r.Indexes {
		x.Dangling = index.NewBits(r.DAG.Len())
		var entries []uint32
		for _, i := range x.Graph.Entries() {
			if x.Graph.InCache(i) && !r.hasLayout(x.ID(i), x.Layout) && !r.Odd[x.ID(i)] {
				entries = append(entries, i)
			}
		}
		specs, err := r.entries(ctx, x, entries)
		if err != nil {
			return nil, err
		}
		for _, s := range specs {
			checks = append(checks, func(ctx context.Context) (*Damage, error) {
				d := &Damage{index: x, Hash: s.Hash, Spec: s.String(), What: "in the index " + x.Object.Key + ", but it has no spec file or manifest"}
				if s.External {
					return d, nil
				}
				newer, err := r.unlisted(ctx, buildcache.SpecKeys(s, x.Layout)...)
				d.newer = newer
				return d, err
			})
		}
	}
	return checks, nil
}

// entries reads some entries of an index in full: a graph does not say where a
// spec's files are in v2.
func (r *scanner) entries(ctx context.Context, x *Index, entries []uint32) ([]*buildcache.Spec, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	body, _, err := r.store.Get(ctx, x.TextKey())
	if err != nil {
		return nil, &buildcache.ObjectError{Key: x.TextKey(), Err: err}
	}
	defer body.Close()
	var specs []*buildcache.Spec
	var at int64
	for _, i := range entries { // in the order of the file
		offset, size := x.Graph.Record(i)
		record := make([]byte, size)
		_, err := io.CopyN(io.Discard, body, offset-at)
		if err == nil {
			_, err = io.ReadFull(body, record)
		}
		at = offset + int64(size)
		var value struct{ Spec json.RawMessage }
		if err == nil {
			err = json.Unmarshal(record[bytes.IndexByte(record, ':')+1:], &value)
		}
		var s *buildcache.Spec
		if err == nil {
			s, err = buildcache.ParseSpec(value.Spec)
		}
		if err != nil || s.Hash != x.Graph.Hash(i) {
			return nil, fmt.Errorf("%w: %s was replaced meanwhile: %w", ErrIncomplete, x.TextKey(), err)
		}
		specs = append(specs, s)
	}
	return specs, nil
}

func (r *scanner) unlistedTarball(ctx context.Context, at dag.ID) (*Damage, error) {
	file := r.Own(at)[0]
	s, _, err := (&buildcache.Cache{Store: r.store}).Spec(ctx, r.Pack(file))
	if err != nil {
		return nil, Unreadable(r.Objects.Key(file), err)
	}
	d := &Damage{Hash: s.Hash, Spec: s.String(), Key: r.Objects.Key(file), What: "its tarball is missing: push it again"}
	d.newer, err = r.unlisted(ctx, buildcache.TarballKey(s))
	return d, err
}

func (r *scanner) unlistedBlob(ctx context.Context, manifest listing.ID, key string) (*Damage, error) {
	d := &Damage{Key: key, What: "missing, though " + r.Objects.Key(manifest) + " names it"}
	if of := r.Objects.At(manifest).Of; of != 0 {
		d.Hash, d.Spec = r.DAG.Hash(of-1), r.DAG.Text(of-1)
		d.What += ": push its package again"
	}
	var err error
	d.newer, err = r.unlisted(ctx, key)
	return d, err
}

// absentRoots returns what lockfiles hold and was not listed. Most often nobody
// has pushed it, or not here.
func (r *scanner) absentRoots() ([]*buildcache.Spec, error) {
	var absent []*buildcache.Spec
	seen := map[buildcache.Hash]bool{}
	for _, l := range r.opts.Locks {
		numbers := r.Absent(l)
		if len(numbers) == 0 {
			continue
		}
		full, err := l.Full() // where its files would lie is not in the graph
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", l.Name, err)
		}
		for _, i := range numbers {
			s := full.Specs[l.File.Hash(i)]
			if s == nil {
				return nil, fmt.Errorf("lock %s: it has changed since it was read: run again", l.Name)
			}
			if !seen[s.Hash] {
				seen[s.Hash] = true
				absent = append(absent, s)
			}
		}
	}
	return absent, nil
}

// layouts returns those that the cache has anything of.
func (s *Scan) layouts() []int {
	var layouts []int
	for layout, prefix := range map[int]string{2: "build_cache/", 3: "v3/"} {
		i, _ := s.Objects.Find(prefix)
		if int(i) < s.Objects.Len() && strings.HasPrefix(s.Objects.Key(i), prefix) {
			layouts = append(layouts, layout)
		}
	}
	slices.Sort(layouts)
	return layouts
}

// unlistedKeys looks for the manifests of public keys, whose blobs would be
// orphans without them. Which keys there are stands in a blob of its own.
func (r *scanner) unlistedKeys(ctx context.Context) error {
	if len(r.Manifests) == 0 {
		return nil
	}
	keys, ok := r.Objects.Find(keysV3)
	if !ok {
		_, err := r.unlisted(ctx, keysV3)
		return err
	}
	for _, b := range r.BlobsNamed(keys) {
		data, _, err := buildcache.ReadAll(ctx, r.store, r.Blobs[b].Key())
		if errors.Is(err, fs.ErrNotExist) {
			continue // complete tells
		}
		var list struct{ Keys map[string]any }
		if err == nil && json.Unmarshal(data, &list) != nil {
			err = Unreadable(r.Blobs[b].Key(), buildcache.ErrFormat)
		}
		if err != nil {
			return err
		}
		for print := range list.Keys {
			key := "v3/manifests/key/" + print + ".key.manifest.json"
			if _, ok := r.Objects.Find(key); ok {
				continue
			}
			if _, err := r.unlisted(ctx, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// Whole reports whether a spec lacks nothing of what it has in a layout.
func (s *Scan) Whole(at dag.ID, layout int) bool {
	return !slices.ContainsFunc(s.missing[at], func(key string) bool { return strings.HasPrefix(key, "build_cache/") == (layout == 2) })
}
