package buildtime

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/atomicfile"
)

// A Package is one whose time is asked for.
type Package struct {
	Name      string
	Key       string // of the tarball; "" if there is none
	Digest    string // names the tarball's bytes
	Size      int64  // of the tarball, in bytes
	Seconds   float64
	Estimated bool
}

// A Memory is what tarballs have said, by their digests: what was read once is not asked for again.
// It only saves work: a file that is lost or damaged is made anew.
type Memory struct {
	path  string
	mu    sync.Mutex
	known map[string]record
	grown bool
}

type record struct {
	Name    string  `json:"name"`
	Size    int64   `json:"size"`
	Seconds float64 `json:"seconds"` // -1: the tarball does not say
}

// maxMemory is how long the file may be, in bytes: some two million packages.
const maxMemory = 512 << 20

// OpenMemory reads what is remembered in a file; without a path it remembers only while it lives.
func OpenMemory(path string) *Memory {
	m := &Memory{path: path, known: map[string]record{}}
	info, err := os.Stat(path)
	if err != nil || info.Size() > maxMemory {
		return m
	}
	text, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(text, &m.known) != nil || m.known == nil {
		m.known = map[string]record{}
	}
	return m
}

// Save writes what is new, if anything is.
func (m *Memory) Save() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.path == "" || !m.grown {
		return nil
	}
	text, err := json.Marshal(m.known)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(m.path), 0o755)
	}
	if err == nil {
		err = atomicfile.Write(m.path, text, 0o644)
	}
	if err != nil {
		return fmt.Errorf("remember how long packages take to build: %w", err)
	}
	m.grown = false
	return nil
}

// parallel is how many tarballs are read at a time.
const parallel = 32

// Fill finds out how long packages took to build: from memory, else from their tarballs, else by
// Estimate. It stops at the first error of the store.
func (m *Memory) Fill(ctx context.Context, store buildcache.Store, all []*Package) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, p := range all {
		m.mu.Lock()
		known, ok := m.known[p.Digest]
		m.mu.Unlock()
		if p.Seconds = known.Seconds; ok && p.Digest != "" {
			continue
		}
		if p.Seconds = -1; p.Key == "" {
			continue
		}
		g.Go(func() (err error) {
			if p.Seconds, err = Read(gctx, store, p.Key, p.Size); err != nil {
				return &buildcache.ObjectError{Key: p.Key, Err: err}
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			if p.Digest != "" {
				m.known[p.Digest], m.grown = record{p.Name, p.Size, p.Seconds}, true
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	Estimate(all, m.samples())
	return nil
}

// samples are the packages of which the time is known.
func (m *Memory) samples() (all []*Package) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.known {
		if r.Seconds > 0 {
			all = append(all, &Package{Name: r.Name, Size: r.Size, Seconds: r.Seconds})
		}
	}
	return all
}

// exponent is how the time to build a package grows with its size: one of ten times the size takes
// four times as long, all in all.
const exponent = 0.6

// Estimate fills in the seconds of packages that have none: the median of what is known of the same
// package, else what its size lets expect, by the median of all. Where nothing is known at all, a
// package of 2 MB takes 40 seconds.
func Estimate(all, samples []*Package) {
	byName := map[string][]float64{}
	var rates []float64
	for _, p := range samples {
		byName[p.Name] = append(byName[p.Name], p.Seconds)
		rates = append(rates, p.Seconds/math.Pow(float64(max(1, p.Size)), exponent))
	}
	rate := median(rates, 40/math.Pow(2e6, exponent))
	for _, p := range all {
		if p.Seconds >= 0 {
			continue
		}
		p.Estimated = true
		p.Seconds = median(byName[p.Name], rate*math.Pow(float64(max(1, p.Size)), exponent))
	}
}

func median(values []float64, otherwise float64) float64 {
	if len(values) == 0 {
		return otherwise
	}
	values = slices.Sorted(slices.Values(values))
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}
