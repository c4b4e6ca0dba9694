package sifstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/sif"
)

// A Store is where SIFs go: a bucket or a folder.
type Store interface {
	buildcache.Store
	buildcache.Writer
	String() string
}

// A Manifest is NAME.json in a store: every SIF of a container that is there,
// and which one is the newest for each platform. It is written after what it
// names and before anything is removed, so what it names is there.
type Manifest struct {
	Name     string            `json:"name"`
	Sequence int64             `json:"sequence,omitempty"` // goes up with each change, so that an old manifest is known as one
	Newest   map[string]Latest `json:"newest"`             // by platform: the release that was uploaded last
	Files    []Stored          `json:"files"`              // by name

	// In a folder that sif:install has filled: the Sequence of the manifest that it was filled
	// from.
	InstalledSequence int64 `json:"installed_sequence,omitempty"`

	Signature *string `json:"signature,omitempty"` // armored, over the text with this member empty
}

// A Latest is the newest SIF for a platform.
type Latest struct {
	File    string `json:"file"`
	Version string `json:"version"`
	Digest  string `json:"digest"`
	SHA256  string `json:"sha256"`
}

func newLatest(s Stored) Latest {
	return Latest{File: s.File, Version: s.Version, Digest: s.Digest, SHA256: s.SHA256}
}

// A Stored is a SIF in a store.
type Stored struct {
	sif.Record
	Uploaded time.Time `json:"uploaded"`
}

// manifestKey is where the manifest of a container lies.
func manifestKey(container string) string { return container + ".json" }

// Find returns what a store's manifest says of a container's file.
func Find(ctx context.Context, store buildcache.Store, keys Keys, container, file string) (s Stored, ok bool, err error) {
	m, _, err := readManifest(ctx, store, keys, container)
	if err != nil {
		return Stored{}, false, err
	}
	s, ok = m.find(file)
	return s, ok, nil
}

// find returns the entry of a file.
func (m *Manifest) find(file string) (Stored, bool) {
	i := slices.IndexFunc(m.Files, func(s Stored) bool { return s.File == file })
	if i < 0 {
		return Stored{}, false
	}
	return m.Files[i], true
}

// put adds an entry, or replaces that of the same file.
func (m *Manifest) put(s Stored) {
	m.remove(s.File)
	m.Files = append(m.Files, s)
	m.settle()
}

func (m *Manifest) remove(file string) {
	m.Files = slices.DeleteFunc(m.Files, func(s Stored) bool { return s.File == file })
	m.settle()
}

// settle puts the entries in order and finds the newest ones. The newest is
// the release that came last, not the one with the highest number: as with the
// tag latest, a user who goes back a version means it.
func (m *Manifest) settle() {
	slices.SortFunc(m.Files, func(a, b Stored) int { return strings.Compare(a.File, b.File) })
	m.Newest = map[string]Latest{}
	latest := map[string]time.Time{}
	for _, s := range m.Files {
		if s.Branch == "" && (m.Newest[s.Platform].File == "" || s.Uploaded.After(latest[s.Platform])) {
			latest[s.Platform] = s.Uploaded
			m.Newest[s.Platform] = newLatest(s)
		}
	}
}

// maxManifest is how large a manifest may be, in bytes, and maxEntries how many objects of JSON may
// be in it: a release of each day for ten years stays below.
const (
	maxManifest = 4 << 20
	maxEntries  = 20_000
)

// readManifest returns the manifest of a container with its ETag, which is
// empty where there is none yet. What it returns has been checked.
func readManifest(ctx context.Context, store buildcache.Store, keys Keys, container string) (*Manifest, string, error) {
	if !sif.ValidContainer(container) {
		return nil, "", fmt.Errorf("%q is no name of a container", container)
	}
	key := manifestKey(container)
	body, object, err := store.Get(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return &Manifest{Name: container, Newest: map[string]Latest{}}, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, maxManifest+1))
	if err != nil {
		return nil, "", err
	}
	m, err := parseManifest(text, keys, container)
	if err != nil {
		return nil, "", fmt.Errorf("%s in %v: %w", key, store, err)
	}
	return m, object.ETag, nil
}

// parseManifest reads a manifest whose signature was not checked.
func parseManifest(text []byte, keys Keys, container string) (*Manifest, error) {
	if len(text) > maxManifest || bytes.Count(text, []byte("{")) > maxEntries {
		return nil, fmt.Errorf("more than %d MB or %d entries are no manifest of SIFs", maxManifest>>20, maxEntries)
	}
	signed, err := keys.verify(text)
	if err != nil {
		return nil, err
	}
	var m Manifest
	if err := json.Unmarshal(signed, &m); err != nil {
		return nil, fmt.Errorf("it is no manifest of SIFs: %w", err)
	}
	if err := m.check(container); err != nil {
		return nil, err
	}
	var member struct{ Signature *string }
	if err := json.Unmarshal(text, &member); err != nil {
		return nil, err
	}
	m.Signature = member.Signature
	return &m, nil
}

// changeManifest reads a manifest, changes it and writes it back, as often as
// it takes when others do the same.
func changeManifest(ctx context.Context, store Store, keys Keys, container string, change func(*Manifest)) error {
	const attempts = 10
	for range attempts {
		m, etag, err := readManifest(ctx, store, keys, container)
		if err != nil {
			return err
		}
		change(m)
		m.Sequence++
		condition := buildcache.Condition{IfMatch: etag, IfNoneMatch: etag == ""}
		err = writeManifest(ctx, store, keys, m, condition)
		if !errors.Is(err, buildcache.ErrChanged) {
			return err
		}
	}
	return fmt.Errorf("%s changes all the time: try again later", manifestKey(container))
}

func writeManifest(ctx context.Context, store Store, keys Keys, m *Manifest, condition buildcache.Condition) error {
	if m.Signature != nil && keys.Signer == nil {
		return fmt.Errorf("%s is signed, and would no longer be: give --sign=KEY.asc", manifestKey(m.Name))
	}
	text, err := keys.sign(*m)
	if err != nil {
		return fmt.Errorf("%s: %w", manifestKey(m.Name), err)
	}
	_, err = store.Put(ctx, manifestKey(m.Name), bytes.NewReader(text), int64(len(text)), buildcache.PutOptions{
		ContentType: "application/json", CacheControl: "no-cache", Condition: condition,
	})
	return err
}

func encodeManifest(m Manifest) ([]byte, error) {
	text, err := json.MarshalIndent(m, "", "  ")
	return append(text, '\n'), err
}
