package janitor

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// RootsPrefix is where root sets are in a mirror: one object a set, with what
// another repository, a running build or a person needs of it.
const (
	RootsPrefix        = ".spacktainers/roots/"
	repositoriesPrefix = RootsPrefix + "repositories/"
	buildsPrefix       = RootsPrefix + "builds/"
)

// How long sets are in force, and what is read of them at most.
const (
	repositoryFor = 90 * 24 * time.Hour
	spareFor      = 90 * 24 * time.Hour
	buildFor      = 48 * time.Hour
	endedFor      = 30 * 24 * time.Hour // then an ended set is removed
	maxSet        = 16 << 20            // bytes
	maxSets       = 10_000
)

// A RootSet is one as it is in the mirror. It is in force from Written on, by
// the store's clock, for For.
type RootSet struct {
	Name    string        `json:"name"` // repositories/NAME or builds/ID
	Owner   string        `json:"owner"`
	Written time.Time     `json:"written"`
	For     time.Duration `json:"for"`
	Origins []Origin      `json:"origins"`
	Problem string        `json:"problem,omitempty"` // why it cannot be read

	size int64
}

// An Origin is what needs specs: a lockfile, an image, a build.
type Origin struct {
	Name  string            `json:"name"`
	Specs []buildcache.Hash `json:"specs"`
}

// setText is a root set in its object.
type setText struct {
	Format  int      `json:"format"`
	Owner   string   `json:"owner"`
	For     int64    `json:"for"` // seconds
	Origins []Origin `json:"origins"`
}

// Repository reports whether the set is that of a repository, which refreshes
// it; others are complete when they are written.
func (s *RootSet) Repository() bool { return strings.HasPrefix(s.Name, "repositories/") }

// Ends returns when the set stops to keep anything.
func (s *RootSet) Ends() time.Time { return s.Written.Add(s.For) }

// Late reports that three quarters of the set's time have passed.
func (s *RootSet) Late(now time.Time) bool { return now.Sub(s.Written) > s.For/4*3 }

// inForce reports whether the set keeps what it names.
func (s *RootSet) inForce(now time.Time) bool { return now.Before(s.Ends()) }

// Specs counts what the set names.
func (s *RootSet) Specs() (n int) {
	for _, o := range s.Origins {
		n += len(o.Specs)
	}
	return n
}

// ListRootSets reads the root sets of a mirror, in the order of their names.
// One that cannot be understood has a Problem; an error is what the store
// refuses.
func ListRootSets(ctx context.Context, store buildcache.Store) ([]RootSet, error) {
	return readSets(ctx, store, nil)
}

// readSets reads the sets, those that are known aside.
func readSets(ctx context.Context, store buildcache.Store, known *Known) ([]RootSet, error) {
	var sets []RootSet
	writers := map[string]int{}
	for o, err := range store.List(ctx, RootsPrefix) {
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", RootsPrefix, err)
		}
		name := strings.TrimPrefix(o.Key, RootsPrefix)
		kind, rest, _ := strings.Cut(name, "/")
		if rest == "" || kind != "repositories" && kind != "builds" {
			continue
		}
		s := RootSet{Name: name, Written: o.ModTime, For: repositoryFor, size: o.Size}
		if len(sets) < maxSets {
			if s, err = readSet(ctx, store, o, s, known); errors.Is(err, fs.ErrNotExist) {
				continue // it was removed since it was listed
			}
			if err != nil {
				return nil, err
			}
		}
		writers[s.Owner]++
		sets = append(sets, s)
	}
	if len(sets) > maxSets {
		most := ""
		for owner, n := range writers {
			if n > writers[most] || n == writers[most] && owner < most {
				most = owner
			}
		}
		return nil, fmt.Errorf("%w: there are %d root sets below %s, %d are the limit; most, %d, are of %q: remove them",
			ErrRefused, len(sets), RootsPrefix, maxSets, writers[most], most)
	}
	return sets, nil
}

func readSet(ctx context.Context, store buildcache.Store, o buildcache.Object, s RootSet, known *Known) (RootSet, error) {
	if o.Size > maxSet {
		s.Problem = fmt.Sprintf("it has %d MB, %d are the limit", o.Size>>20, maxSet>>20)
		return s, nil
	}
	if old, ok := known.set(o); ok {
		return old, nil
	}
	data, at, err := get(ctx, store, o.Key)
	if err != nil {
		return s, err
	}
	s.Written = at.ModTime
	if err := s.parse(data); err != nil {
		s.Problem = err.Error()
		return s, nil
	}
	if at.ETag == o.ETag && at.ModTime.Equal(o.ModTime) {
		known.putSet(at, s)
	}
	return s, nil
}

func (s *RootSet) parse(data []byte) error {
	var text setText
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	if text.Format != 1 {
		return fmt.Errorf("%w: format %d is not known here", buildcache.ErrFormat, text.Format)
	}
	for _, o := range text.Origins {
		for _, h := range o.Specs {
			if _, err := buildcache.ParseHash(string(h)); err != nil {
				return err
			}
		}
	}
	limit := repositoryFor
	if !s.Repository() && text.For == 0 {
		limit = buildFor
	}
	s.Owner, s.Origins, s.For = text.Owner, text.Origins, limit
	if d := time.Duration(text.For) * time.Second; text.For > 0 && text.For < int64(limit/time.Second) {
		s.For = d
	}
	return nil
}

// writeSet puts a set into the mirror and returns it as it is there.
func (j *Janitor) writeSet(ctx context.Context, name string, d time.Duration, origins []Origin) (RootSet, error) {
	for i := range origins {
		slices.Sort(origins[i].Specs)
		origins[i].Specs = slices.Compact(origins[i].Specs)
	}
	slices.SortFunc(origins, func(a, b Origin) int { return cmp.Compare(a.Name, b.Name) })
	data, err := json.Marshal(setText{1, j.Owner, int64(d / time.Second), origins})
	if err != nil {
		return RootSet{}, err
	}
	if len(data) > maxSet {
		return RootSet{}, fmt.Errorf("root set %s: %w: it would have %d MB, %d are the limit", name, ErrRefused, len(data)>>20, maxSet>>20)
	}
	key := RootsPrefix + name
	if _, err := j.Store.Put(ctx, key, bytes.NewReader(data), int64(len(data)), buildcache.PutOptions{ContentType: "application/json"}); err != nil {
		return RootSet{}, fmt.Errorf("write %s: %w", key, err)
	}
	return RootSet{Name: name, Owner: j.Owner, Written: j.Now(), For: d, Origins: origins, size: int64(len(data))}, nil
}

// Announce leaves a set with what a running build relies on. It counts for two
// days. It must be written before the build looks into the cache. It takes the
// right to put objects below builds/ and no other.
func (j Janitor) Announce(ctx context.Context, what string, specs []buildcache.Hash) (RootSet, error) {
	j = j.ready()
	return j.writeSet(ctx, "builds/"+rand.Text(), buildFor, []Origin{{what, slices.Clone(specs)}})
}

// HasJanitor reports whether a janitor has ever worked on a mirror. Where none
// has, nobody would remove what a build announces.
func HasJanitor(ctx context.Context, store buildcache.Store) (bool, error) {
	return exists(ctx, store, oldLeaseKey)
}

// Spare leaves a set with specs of the cache that pins name, and all that they
// need. It counts for 90 days.
func (j Janitor) Spare(ctx context.Context, pins []Pin) (RootSet, error) {
	j = j.ready()
	s, err := NewScan(ctx, j.Store, j.Scan)
	if err != nil {
		return RootSet{}, err
	}
	var origins []Origin
	for _, pin := range pins {
		found := s.match(pin)
		if len(found) == 0 {
			return RootSet{}, fmt.Errorf("%q: %w: give a hash, the beginning of one, a name, or name@version", pin, ErrNothingFor)
		}
		m := newMarks(s, everything)
		m.keep(string(pin), found...)
		origins = append(origins, Origin{"spared: " + string(pin), m.hashes()})
	}
	return j.writeSet(ctx, "builds/"+rand.Text(), spareFor, origins)
}

var setName = regexp.MustCompile(`[^A-Za-z0-9_.-]+`)

// SetName makes the name of a set of what tells one repository from others.
func SetName(text string) string { return strings.Trim(setName.ReplaceAllString(text, "-"), "-.") }

// PublishRoots leaves what our repository needs in its set, for 90 days. Prune
// does it, too.
func (j Janitor) PublishRoots(ctx context.Context) (RootSet, error) {
	j = j.ready()
	roots, err := j.readRoots(ctx)
	if err != nil {
		return RootSet{}, err
	}
	if j.Repository == "" {
		return RootSet{}, fmt.Errorf("%w: the root set has no name: set janitor.name", ErrRefused)
	}
	if len(roots.Locks) == 0 {
		return RootSet{}, fmt.Errorf("%w: no lockfiles: a root set without any would keep nothing", ErrRefused)
	}
	var s *Scan
	if len(roots.Pins) > 0 {
		if s, err = NewScan(ctx, j.Store, j.Scan); err != nil {
			return RootSet{}, err
		}
	}
	return j.publish(ctx, roots, s)
}

// publish writes our own set. What pins name is looked up in a scan.
func (j *Janitor) publish(ctx context.Context, roots Roots, s *Scan) (RootSet, error) {
	var origins []Origin
	for _, l := range roots.Locks {
		o := Origin{Name: "lock " + l.Name}
		for i := range l.needs(j.Policy.edges()) {
			if !l.lock.External(i) {
				o.Specs = append(o.Specs, l.lock.Hash(i))
			}
		}
		origins = append(origins, o)
	}
	for _, pin := range roots.Pins {
		m := newMarks(s, j.Policy.edges())
		m.keep("", s.match(pin)...)
		origins = append(origins, Origin{"pin " + string(pin), m.hashes()})
	}
	return j.writeSet(ctx, "repositories/"+SetName(j.Repository), repositoryFor, origins)
}

// ForgetRoots removes a set by its name.
func (j Janitor) ForgetRoots(ctx context.Context, name string) error {
	j = j.ready()
	sets, err := ListRootSets(ctx, j.Store)
	if err != nil {
		return err
	}
	for _, s := range sets {
		if s.Name == name || strings.TrimPrefix(s.Name, "repositories/") == name {
			return j.Store.Delete(ctx, []string{RootsPrefix + s.Name})
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
		if s.Problem != "" && s.Repository() || r.moment().earlier().Sub(s.Ends()) < endedFor {
			continue
		}
		key := RootsPrefix + s.Name
		switch _, o, err := get(ctx, r.Store, key); {
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
		if err := r.lease.hold(ctx); err != nil {
			return err
		}
		if err := r.Store.Delete(ctx, some); err != nil {
			return fmt.Errorf("remove root sets: %w", err)
		}
	}
	return nil
}

// readRoots reads the lockfiles and pins anew.
func (j *Janitor) readRoots(ctx context.Context) (Roots, error) {
	if j.Roots == nil {
		return Roots{}, nil
	}
	return j.Roots(ctx)
}
