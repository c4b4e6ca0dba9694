package sifstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/sif"
)

// locks begins the keys of lockfiles: what is needed to build the SIFs again,
// and what a janitor of the build cache must leave for that.
const locks = "locks/"

// maxLocks is how large all lockfiles of a store may be together, in bytes: the
// largest known ones, with 50 000 specs, have 80 MB, usual ones two.
const maxLocks = 1 << 30

// sendLock stores the lockfile of a SIF. It comes before what refers to it. A
// SIF of a definition file has none.
func (u Uploader) sendLock(ctx context.Context, r sif.Record) error {
	if r.Lock == "" {
		return nil
	}
	text, err := u.From.Lock(r)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // built before lockfiles were kept; Locks tells
	}
	if err != nil {
		return err
	}
	_, err = u.To.Put(ctx, sif.LockKey(r.Lock), bytes.NewReader(text), int64(len(text)), buildcache.PutOptions{
		ContentType: "application/json", Condition: buildcache.Condition{IfNoneMatch: true},
	})
	if errors.Is(err, buildcache.ErrChanged) {
		return nil // it is there
	}
	return err
}

// A Lockfile is what SIFs of a store were made from.
type Lockfile struct {
	Files  []string // the SIFs, by name
	SHA256 string   // in hex; empty: it is not known
	Text   []byte   // nil: it is not in the store
}

// Locks returns the lockfiles of all SIFs that the manifests of a store name,
// each once. SIFs of definition files have none and are left out.
func Locks(ctx context.Context, store buildcache.Store, keys Keys) ([]Lockfile, error) {
	c, err := readCatalogue(ctx, store, keys)
	if err != nil {
		return nil, err
	}
	var found []Lockfile
	at := map[string]int{} // in found, by checksum
	var read int64
	for _, m := range c.manifests {
		for _, s := range m.Files {
			if s.Kind == sif.KindDefinitionFile {
				continue
			}
			if i, ok := at[s.Lock]; ok {
				found[i].Files = append(found[i].Files, s.File)
				continue
			}
			text, err := readLock(ctx, store, s.Lock, maxLocks-read)
			if err != nil {
				return nil, fmt.Errorf("lockfile of %s: %w", s.File, err)
			}
			read += int64(len(text))
			at[s.Lock] = len(found)
			found = append(found, Lockfile{[]string{s.File}, s.Lock, text})
		}
	}
	return found, nil
}

// readLock returns nil where the store does not have the lockfile. More bytes
// than most are an error.
func readLock(ctx context.Context, store buildcache.Store, sha string, most int64) ([]byte, error) {
	if !hexSHA256.MatchString(sha) {
		return nil, nil
	}
	body, _, err := store.Get(ctx, sif.LockKey(sha))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > most {
		return nil, fmt.Errorf("the lockfiles there have more than %d MB", maxLocks>>20)
	}
	if !sif.IsLock(text, sha) {
		return nil, fmt.Errorf("%s has another checksum than its name: upload the SIF again from where it was built", sif.LockKey(sha))
	}
	return text, nil
}

// judgeLocks lets lockfiles go that no SIF needs any longer. An upload sends
// them first, so young ones stay.
func (c catalogue) judgeLocks(r Retention) []CleanLine {
	var lines []CleanLine
	for _, object := range c.locks {
		line := CleanLine{File: object.Key, Size: object.Size, Date: object.ModTime, Reason: "lockfile of a SIF", etag: object.ETag}
		needed := slices.ContainsFunc(c.manifests, func(m *Manifest) bool {
			return slices.ContainsFunc(m.Files, func(s Stored) bool { return sif.LockKey(s.Lock) == object.Key })
		})
		if !needed && r.Now.Sub(object.ModTime) > sif.PartAge {
			line.Remove, line.Reason = true, "lockfile of no SIF"
		}
		lines = append(lines, line)
	}
	return lines
}
