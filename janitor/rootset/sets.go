package rootset

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Prefix is where root sets are in a mirror: one object a set, with what
// another repository, a running build or a person needs of it.
const Prefix = ".spacktainers/roots/"

// How long sets are in force, and what is read of them at most.
const (
	RepositoryFor = 90 * 24 * time.Hour
	SpareFor      = 90 * 24 * time.Hour
	BuildFor      = 48 * time.Hour
	EndedFor      = 30 * 24 * time.Hour // then an ended set is removed
	maxSet        = 16 << 20            // bytes
	maxSets       = 10_000
)

// ErrRefused is a rule that is broken, or roots that say nothing.
var ErrRefused = errors.New("refused")

// A Set is one as it is in the mirror. It is in force from Written on, by
// the store's clock, for For.
type Set struct {
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
func (s *Set) Repository() bool { return strings.HasPrefix(s.Name, "repositories/") }

// Ends returns when the set stops to keep anything.
func (s *Set) Ends() time.Time { return s.Written.Add(s.For) }

// Late reports that three quarters of the set's time have passed.
func (s *Set) Late(now time.Time) bool { return now.Sub(s.Written) > s.For/4*3 }

// InForce reports whether the set keeps what it names.
func (s *Set) InForce(now time.Time) bool { return now.Before(s.Ends()) }

// Specs counts what the set names.
func (s *Set) Specs() (n int) {
	for _, o := range s.Origins {
		n += len(o.Specs)
	}
	return n
}

// List reads the root sets of a mirror, in the order of their names.
// One that cannot be understood has a Problem; an error is what the store
// refuses.
func List(ctx context.Context, store buildcache.Store) ([]Set, error) {
	return ReadSets(ctx, store, &SetMemory{})
}

// ReadSets reads the sets, those that are known aside.
func ReadSets(ctx context.Context, store buildcache.Store, known *SetMemory) ([]Set, error) {
	var sets []Set
	writers := map[string]int{}
	listed, err := listTwice(ctx, store)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", Prefix, err)
	}
	for _, o := range listed {
		name := strings.TrimPrefix(o.Key, Prefix)
		kind, rest, _ := strings.Cut(name, "/")
		if rest == "" || kind != "repositories" && kind != "builds" {
			continue
		}
		s := Set{Name: name, Written: o.ModTime, For: RepositoryFor, size: o.Size}
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
			ErrRefused, len(sets), Prefix, maxSets, writers[most], most)
	}
	return sets, nil
}

// listTwice returns what either of two listings has. Nothing else names root sets, so that one
// which a listing leaves out would be missed without a word.
func listTwice(ctx context.Context, store buildcache.Store) ([]buildcache.Object, error) {
	listed := map[string]buildcache.Object{}
	for range 2 {
		for o, err := range store.List(ctx, Prefix) {
			if err != nil {
				return nil, err
			}
			listed[o.Key] = o
		}
	}
	return slices.SortedFunc(maps.Values(listed), func(a, b buildcache.Object) int { return strings.Compare(a.Key, b.Key) }), nil
}

func readSet(ctx context.Context, store buildcache.Store, o buildcache.Object, s Set, known *SetMemory) (Set, error) {
	if o.Size > maxSet {
		s.Problem = fmt.Sprintf("it has %d MB, %d are the limit", o.Size>>20, maxSet>>20)
		return s, nil
	}
	if old, ok := known.set(o); ok {
		return old, nil
	}
	data, at, err := buildcache.ReadAll(ctx, store, o.Key)
	if err != nil {
		return s, err
	}
	s.Written = at.ModTime
	if err := s.parse(data); err != nil {
		s.Problem = err.Error()
		return s, nil
	}
	if at.ETag == o.ETag && at.ModTime.Equal(o.ModTime) {
		known.put(at, s)
	}
	return s, nil
}

func (s *Set) parse(data []byte) error {
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
	limit := RepositoryFor
	if !s.Repository() && text.For == 0 {
		limit = BuildFor
	}
	s.Owner, s.Origins, s.For = text.Owner, text.Origins, limit
	if d := time.Duration(text.For) * time.Second; text.For > 0 && text.For < int64(limit/time.Second) {
		s.For = d
	}
	return nil
}

var setName = regexp.MustCompile(`[^A-Za-z0-9_.-]+`)

// SetName makes the name of a set of what tells one repository from others.
func SetName(text string) string { return strings.Trim(setName.ReplaceAllString(text, "-"), "-.") }

// A SetMemory remembers the sets that were read, such that a look reads only those that are new.
type SetMemory struct {
	mu   sync.Mutex
	sets map[string]Set // by key and ETag
}

// set returns a root set that was read before.
func (m *SetMemory) set(o buildcache.Object) (Set, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.sets[o.Key+"\x00"+o.ETag]
	return s, ok && o.ETag != "" && s.Written.Equal(o.ModTime) && s.size == o.Size
}

func (m *SetMemory) put(o buildcache.Object, s Set) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sets == nil {
		m.sets = map[string]Set{}
	}
	m.sets[o.Key+"\x00"+o.ETag] = s
}

// EncodeSet returns the text of a set, with the specs and origins in order.
func EncodeSet(owner string, d time.Duration, origins []Origin) ([]byte, error) {
	for i := range origins {
		slices.Sort(origins[i].Specs)
		origins[i].Specs = slices.Compact(origins[i].Specs)
	}
	slices.SortFunc(origins, func(a, b Origin) int { return cmp.Compare(a.Name, b.Name) })
	data, err := json.Marshal(setText{1, owner, int64(d / time.Second), origins})
	if err == nil && len(data) > maxSet {
		err = fmt.Errorf("%w: it would have %d MB, %d are the limit", ErrRefused, len(data)>>20, maxSet>>20)
	}
	return data, err
}
