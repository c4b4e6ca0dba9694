package janitor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/testing/synth"
	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// A shelf of objects in order, which costs nothing to list.
type sortedStore struct {
	all    []buildcache.Object
	bodies map[string][]byte
}

func (s *sortedStore) List(_ context.Context, prefix string) iter.Seq2[buildcache.Object, error] {
	return func(yield func(buildcache.Object, error) bool) {
		at, _ := slices.BinarySearchFunc(s.all, prefix, func(o buildcache.Object, key string) int { return strings.Compare(o.Key, key) })
		for _, o := range s.all[at:] {
			if !strings.HasPrefix(o.Key, prefix) || !yield(o, nil) {
				return
			}
		}
	}
}

func (s *sortedStore) Get(_ context.Context, key string) (io.ReadCloser, buildcache.Object, error) {
	body, ok := s.bodies[key]
	if !ok {
		return nil, buildcache.Object{}, fs.ErrNotExist
	}
	at, _ := slices.BinarySearchFunc(s.all, key, func(o buildcache.Object, key string) int { return strings.Compare(o.Key, key) })
	return io.NopCloser(bytes.NewReader(body)), s.all[at], nil
}

func synthetic(b *testing.B, specs, layout int) (*sortedStore, rootset.Roots) {
	b.Helper()
	s := &sortedStore{bodies: map[string][]byte{}}
	c := synth.Cache{Specs: specs, Seed: 1, Layout: layout, Newest: old, Shallow: true}
	err := c.Fill(func(o synth.Object) error {
		s.all = append(s.all, buildcache.Object{Key: o.Key, Size: int64(len(o.Body)), ETag: sum(o.Body)[:32], ModTime: o.ModTime})
		s.bodies[o.Key] = o.Body
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	slices.SortFunc(s.all, func(x, y buildcache.Object) int { return strings.Compare(x.Key, y.Key) })
	lock, err := rootset.ParseLock("env", c.Lockfile(c.Roots(specs/20)...))
	if err != nil {
		b.Fatal(err)
	}
	return s, rootset.Roots{Locks: []rootset.Lock{lock}}
}

// BenchmarkPlan is a dry run without a network: what is left is the janitor's
// own work.
func BenchmarkPlan(b *testing.B) {
	for _, layout := range []int{2, 3} {
		for _, specs := range []int{1000, 10_000, 100_000} {
			b.Run(fmt.Sprintf("layout=%d/specs=%d", layout, specs), func(b *testing.B) {
				if specs > 10_000 && testing.Short() {
					b.Skip("some GB of memory")
				}
				store, roots := synthetic(b, specs, layout)
				path := b.TempDir() + "/known"
				known := scan.OpenKnown(path)
				if _, err := scan.New(b.Context(), store, scan.Options{Known: known}); err != nil {
					b.Fatal(err)
				}
				if err := known.Save(); err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				for b.Loop() {
					j := clean(readOnly{store})
					j.Scan.Known, j.Policy = scan.OpenKnown(path), janitor.Policy{MaxFraction: 1, Grace: day, Wait: 6 * day}
					j.Roots = func(context.Context) (rootset.Roots, error) { return roots, nil }
					p, err := j.Plan(b.Context())
					if err != nil {
						b.Fatal(err)
					}
					if err := p.WriteJSON(io.Discard); err != nil {
						b.Fatal(err)
					}
					if p.After.Specs == 0 || p.After.Specs == p.Before.Specs {
						b.Fatalf("%+v", p.After)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(specs), "ns/spec")
			})
		}
	}
}

// A readOnly store refuses to be written to.
type readOnly struct{ buildcache.Store }

func (readOnly) Put(context.Context, string, io.ReaderAt, int64, buildcache.PutOptions) (string, error) {
	return "", errors.ErrUnsupported
}
func (readOnly) Delete(context.Context, []string) error     { return errors.ErrUnsupported }
func (readOnly) Copy(context.Context, string, string) error { return errors.ErrUnsupported }
