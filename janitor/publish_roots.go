package janitor

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor/lease"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// writeSet puts a set into the mirror and returns it as it is there.
func (j *Janitor) writeSet(ctx context.Context, name string, d time.Duration, origins []rootset.Origin) (rootset.Set, error) {
	data, err := rootset.EncodeSet(j.Owner, d, origins)
	if err != nil {
		return rootset.Set{}, fmt.Errorf("root set %s: %w", name, err)
	}
	key := rootset.Prefix + name
	if _, err := j.Store.Put(ctx, key, bytes.NewReader(data), int64(len(data)), buildcache.PutOptions{ContentType: "application/json"}); err != nil {
		return rootset.Set{}, fmt.Errorf("write %s: %w", key, err)
	}
	return rootset.Set{Name: name, Owner: j.Owner, Written: j.Now(), For: d, Origins: origins}, nil
}

// Announce leaves a set with what a running build relies on. It counts for two
// days. It must be written before the build looks into the cache. It takes the
// right to put objects below builds/ and no other.
func (j Janitor) Announce(ctx context.Context, what string, specs []buildcache.Hash) (rootset.Set, error) {
	j = j.ready()
	return j.writeSet(ctx, "builds/"+rand.Text(), rootset.BuildFor, []rootset.Origin{{Name: what, Specs: slices.Clone(specs)}})
}

// HasJanitor reports whether a janitor has ever worked on a mirror. Where none
// has, nobody would remove what a build announces.
func HasJanitor(ctx context.Context, store buildcache.Store) (bool, error) {
	return buildcache.Exists(ctx, store, lease.OldKey)
}

// Spare leaves a set with specs of the cache that pins name, and all that they
// need. It counts for 90 days.
func (j Janitor) Spare(ctx context.Context, pins []rootset.Pin) (rootset.Set, error) {
	j = j.ready()
	s, err := scan.New(ctx, j.Store, j.Scan)
	if err != nil {
		return rootset.Set{}, err
	}
	var origins []rootset.Origin
	for _, pin := range pins {
		found := match(s, pin)
		if len(found) == 0 {
			return rootset.Set{}, fmt.Errorf("%q: %w: give a hash, the beginning of one, a name, or name@version", pin, ErrNothingFor)
		}
		m := newMarks(s, rootset.Everything)
		m.keep(string(pin), found...)
		origins = append(origins, rootset.Origin{Name: "spared: " + string(pin), Specs: m.hashes()})
	}
	return j.writeSet(ctx, "builds/"+rand.Text(), rootset.SpareFor, origins)
}

// PublishRoots leaves what our repository needs in its set, for 90 days. Prune
// does it, too.
func (j Janitor) PublishRoots(ctx context.Context) (rootset.Set, error) {
	j = j.ready()
	needed, err := j.readRoots(ctx)
	if err != nil {
		return rootset.Set{}, err
	}
	if j.Repository == "" {
		return rootset.Set{}, fmt.Errorf("%w: the root set has no name: set janitor.name", ErrRefused)
	}
	if len(needed.Locks) == 0 {
		return rootset.Set{}, fmt.Errorf("%w: no lockfiles: a root set without any would keep nothing", ErrRefused)
	}
	var s *scan.Scan
	if len(needed.Pins) > 0 {
		if s, err = scan.New(ctx, j.Store, j.Scan); err != nil {
			return rootset.Set{}, err
		}
	}
	return j.publish(ctx, needed, s)
}

// publish writes our own set. What pins name is looked up in a scan.
func (j *Janitor) publish(ctx context.Context, needed rootset.Roots, s *scan.Scan) (rootset.Set, error) {
	var origins []rootset.Origin
	for _, l := range needed.Locks {
		o := rootset.Origin{Name: "lock " + l.Name}
		for i := range l.Needs(j.Policy.edges()) {
			if !l.File.External(i) {
				o.Specs = append(o.Specs, l.File.Hash(i))
			}
		}
		origins = append(origins, o)
	}
	for _, pin := range needed.Pins {
		m := newMarks(s, j.Policy.edges())
		m.keep("", match(s, pin)...)
		origins = append(origins, rootset.Origin{Name: "pin " + string(pin), Specs: m.hashes()})
	}
	return j.writeSet(ctx, "repositories/"+rootset.SetName(j.Repository), rootset.RepositoryFor, origins)
}

// ForgetRoots removes a set by its name.
func (j Janitor) ForgetRoots(ctx context.Context, name string) error {
	j = j.ready()
	sets, err := rootset.List(ctx, j.Store)
	if err != nil {
		return err
	}
	for _, s := range sets {
		if s.Name == name || strings.TrimPrefix(s.Name, "repositories/") == name {
			return j.Store.Delete(ctx, []string{rootset.Prefix + s.Name})
		}
	}
	return fmt.Errorf("root set %q: %w", name, ErrNothingFor)
}

// removeEnded removes the sets that have ended 30 days ago, or would have if they
// could be read, but for those of repositories: what they need is not known.
func (r *run) removeEnded(ctx context.Context) error {
	var keys []string
	for i := range r.look.sets {
		s := &r.look.sets[i]
		if s.Problem != "" && s.Repository() || r.moment().Earlier().Sub(s.Ends()) < rootset.EndedFor {
			continue
		}
		key := rootset.Prefix + s.Name
		switch _, o, err := buildcache.ReadAll(ctx, r.Store, key); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case o.ModTime.Equal(s.Written): // nobody has refreshed it
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	r.Log("%d root sets have ended more than 30 days ago, and are removed", len(keys))
	for some := range slices.Chunk(keys, batch) {
		if err := r.lease.Hold(ctx); err != nil {
			return err
		}
		if err := r.Store.Delete(ctx, some); err != nil {
			return fmt.Errorf("remove root sets: %w", err)
		}
	}
	return nil
}

// readRoots reads the lockfiles and pins anew.
func (j *Janitor) readRoots(ctx context.Context) (rootset.Roots, error) {
	if j.Roots == nil {
		return rootset.Roots{}, nil
	}
	return j.Roots(ctx)
}
