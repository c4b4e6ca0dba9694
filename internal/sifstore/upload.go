package sifstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/ctxio"
	"github.com/openbraininstitute/spacktainers/internal/sif"
)

// mediaType is what the Singularity community calls a SIF.
const mediaType = "application/vnd.sylabs.layer.v1.sif"

// metadata is what a bucket keeps of a SIF beside its content, under the names
// that the predecessor's tools look for.
func metadata(r sif.Record) map[string]string {
	m := map[string]string{
		"container-checksum": r.BuildKey, // what the container is made of
		"build-key":          r.BuildKey,
		"digest":             r.Digest,
		"sha256":             r.SHA256,
		"platform":           r.Platform,
	}
	if r.Digest == "" {
		delete(m, "digest")
	}
	if r.Lock != "" {
		m["spack-lock-sha256"] = r.Lock
	}
	return m
}

// An Upload is one SIF on its way to a store.
type Upload struct {
	Record sif.Record
	State  string // what Plan found
}

// What can become of a file.
const (
	StateNew     = "new"
	StateChanged = "changed"
	StateSame    = "unchanged"
	StateNewest  = "newest again" // it is there, but another release has come since
)

// An Uploader sends SIFs from a folder to a store.
type Uploader struct {
	From     sif.Folder
	To       Store
	Keys     Keys
	Now      func() time.Time
	Progress func(sif.Record) func(sent int64) // may be nil
}

// Plan says what Apply would have to do with a SIF. It only reads.
func (u Uploader) Plan(ctx context.Context, r sif.Record) (Upload, error) {
	m, _, err := readManifest(ctx, u.To, u.Keys, r.Name)
	if err != nil {
		return Upload{}, err
	}
	object, there, err := stat(ctx, u.To, r.File)
	if err != nil {
		return Upload{}, err
	}
	old, listed := m.find(r.File)
	switch {
	case !there:
		return Upload{r, StateNew}, nil
	case listed && object.Size == old.Size && equivalent(old.Record, r) && r.Branch == "" && m.Newest[r.Platform].File != r.File:
		return Upload{r, StateNewest}, nil
	case listed && object.Size == old.Size && equivalent(old.Record, r):
		return Upload{r, StateSame}, nil
	}
	return Upload{r, StateChanged}, nil
}

// equivalent reports whether a stored SIF is as good as another one: made from the
// same things. Apptainer never writes the same bytes twice.
func equivalent(r, other sif.Record) bool {
	return r.SHA256 == other.SHA256 || r.Digest != "" && r.Digest == other.Digest && r.BuildKey == other.BuildKey && r.Lock == other.Lock &&
		r.Compression == other.Compression && r.SignedBy == other.SignedBy && r.Engine == other.Engine
}

// Apply sends a SIF, and before it the lockfile that it was made from. The new object is read back and checked before the old
// one of its name, if there is any, gives way to it; the manifest comes last.
func (u Uploader) Apply(ctx context.Context, up Upload) error {
	r := up.Record
	if err := u.sendLock(ctx, r); err != nil {
		return err
	}
	switch up.State {
	case StateSame:
		return nil
	case StateNewest:
		return changeManifest(ctx, u.To, u.Keys, r.Name, func(m *Manifest) {
			if s, ok := m.find(r.File); ok {
				s.Uploaded = u.now()
				m.put(s)
			}
		})
	}
	file, err := os.Open(u.From.Path(r.File))
	if err != nil {
		return err
	}
	defer file.Close()
	key := r.File
	if up.State == StateChanged {
		key = incoming + r.SHA256[:16] + "-" + r.File
		defer func() { _ = u.remove(ctx, key) }()
	}
	if err := u.send(ctx, key, file, r, up.State == StateNew); err != nil {
		return err
	}
	if err := verify(ctx, u.To, key, r); err != nil {
		return errors.Join(fmt.Errorf("%w: what was there before is untouched", err), u.remove(ctx, key))
	}
	if up.State == StateChanged {
		if err := u.To.Copy(ctx, key, r.File); err != nil {
			return err
		}
		if object, there, err := stat(ctx, u.To, r.File); err != nil || !there || object.Size != r.Size {
			return fmt.Errorf("%s: the copy of the checked object has %d bytes, not %d (%w)", r.File, object.Size, r.Size, err)
		}
	}
	stored := Stored{Record: r, Uploaded: u.now()}
	return changeManifest(ctx, u.To, u.Keys, r.Name, func(m *Manifest) { m.put(stored) })
}

// remove takes back what was sent and does not count, also when ctx has ended.
func (u Uploader) remove(ctx context.Context, key string) error {
	ctx, cancel := ctxio.CleanUp(ctx, time.Minute)
	defer cancel()
	return u.To.Delete(ctx, []string{key})
}

func (u Uploader) now() time.Time { return u.Now().UTC().Truncate(time.Second) }

// incoming begins the keys of objects that are not checked yet.
const incoming = "incoming/"

func (u Uploader) send(ctx context.Context, key string, file *os.File, r sif.Record, fresh bool) error {
	var body io.ReaderAt = file
	if u.Progress != nil {
		body = &progressReader{ReaderAt: file, size: r.Size, report: u.Progress(r)}
	}
	_, err := u.To.Put(ctx, key, body, r.Size, buildcache.PutOptions{
		ContentType: mediaType, Metadata: metadata(r), Condition: buildcache.Condition{IfNoneMatch: fresh},
	})
	if errors.Is(err, buildcache.ErrChanged) {
		return fmt.Errorf("%s: another process uploads it at the same time: try again", r.File)
	}
	return err
}

// stat asks for an object without reading it. A key comes before all keys that
// begin with it, so the first page of a listing has it, or it is not there.
func stat(ctx context.Context, store buildcache.Store, key string) (buildcache.Object, bool, error) {
	const page = 1000
	listed := 0
	for object, err := range store.List(ctx, key) {
		if err != nil {
			return buildcache.Object{}, false, err
		}
		if object.Key == key {
			return object, true, nil
		}
		if listed++; listed == page {
			break
		}
	}
	return buildcache.Object{}, false, nil
}

// verify reads an object back and compares it with what it should be.
func verify(ctx context.Context, store buildcache.Store, key string, r sif.Record) error {
	body, object, err := store.Get(ctx, key)
	if err != nil {
		return err
	}
	defer body.Close()
	if object.Size != r.Size {
		return fmt.Errorf("%s has %d bytes there, not %d", r.File, object.Size, r.Size)
	}
	h := sha256.New()
	if _, err := io.Copy(h, body); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != r.SHA256 {
		return fmt.Errorf("%s has another sha256 there, %s, than here, %s", r.File, got, r.SHA256)
	}
	return nil
}
