package sifstore

import (
	"bytes"
	"cmp"
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
	Name   string            `json:"name"`
	Newest map[string]Latest `json:"newest"` // by platform: the release that was uploaded last
	Files  []Stored          `json:"files"`  // by name
}

// A Latest is the newest SIF for a platform.
type Latest struct {
	File    string `json:"file"`
	Version string `json:"version"`
	Digest  string `json:"digest"`
	SHA256  string `json:"sha256"`
}

// A Stored is a SIF in a store.
type Stored struct {
	sif.Record
	Uploaded time.Time `json:"uploaded"`
}

// manifestKey is where the manifest of a container lies.
func manifestKey(container string) string { return container + ".json" }

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
// tag latest, somebody who goes back a version means it.
func (m *Manifest) settle() {
	slices.SortFunc(m.Files, func(a, b Stored) int { return strings.Compare(a.File, b.File) })
	m.Newest = map[string]Latest{}
	latest := map[string]time.Time{}
	for _, s := range m.Files {
		if s.Branch == "" && (m.Newest[s.Platform].File == "" || s.Uploaded.After(latest[s.Platform])) {
			latest[s.Platform] = s.Uploaded
			m.Newest[s.Platform] = Latest{File: s.File, Version: s.Version, Digest: s.Digest, SHA256: s.SHA256}
		}
	}
}

// readManifest returns the manifest of a container with its ETag, which is
// empty where there is none yet.
func readManifest(ctx context.Context, store buildcache.Store, container string) (*Manifest, string, error) {
	key := manifestKey(container)
	body, object, err := store.Get(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return &Manifest{Name: container, Newest: map[string]Latest{}}, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, "", err
	}
	var m Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, "", fmt.Errorf("%s is no manifest of SIFs: %w", key, err)
	}
	if m.Name != container {
		return nil, "", fmt.Errorf("%s is the manifest of %q", key, m.Name)
	}
	return &m, object.ETag, nil
}

// changeManifest reads a manifest, changes it and writes it back, as often as
// it takes when others do the same.
func changeManifest(ctx context.Context, store Store, container string, change func(*Manifest)) error {
	const attempts = 10
	for range attempts {
		m, etag, err := readManifest(ctx, store, container)
		if err != nil {
			return err
		}
		change(m)
		condition := buildcache.Condition{IfMatch: etag, IfNoneMatch: etag == ""}
		err = writeManifest(ctx, store, m, condition)
		if !errors.Is(err, buildcache.ErrChanged) {
			return err
		}
	}
	return fmt.Errorf("%s changes all the time: try again later", manifestKey(container))
}

func writeManifest(ctx context.Context, store Store, m *Manifest, condition buildcache.Condition) error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	_, err = store.Put(ctx, manifestKey(m.Name), bytes.NewReader(text), int64(len(text)), buildcache.PutOptions{
		ContentType: "application/json", CacheControl: "no-cache", Condition: condition,
	})
	return err
}

// A catalogue is all that a store has: its manifests and objects.
type catalogue struct {
	manifests []*Manifest // by name
	objects   map[string]buildcache.Object
	incoming  []buildcache.Object // on their way, or left by an upload that was killed
}

// readCatalogue lists a store. Folders in it are none of ours.
func readCatalogue(ctx context.Context, store buildcache.Store) (catalogue, error) {
	c := catalogue{objects: map[string]buildcache.Object{}}
	for object, err := range store.List(ctx, "") {
		if err != nil {
			return catalogue{}, err
		}
		switch {
		case strings.HasPrefix(object.Key, incoming):
			c.incoming = append(c.incoming, object)
		case !strings.Contains(object.Key, "/"):
			c.objects[object.Key] = object
		}
	}
	for key := range c.objects {
		container, ok := strings.CutSuffix(key, ".json")
		if !ok || strings.HasPrefix(key, ".") || strings.HasSuffix(container, sif.Ext) {
			continue
		}
		m, _, err := readManifest(ctx, store, container)
		if err != nil {
			return catalogue{}, err
		}
		c.manifests = append(c.manifests, m)
	}
	slices.SortFunc(c.manifests, func(a, b *Manifest) int { return cmp.Compare(a.Name, b.Name) })
	return c, nil
}
