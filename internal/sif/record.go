package sif

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/atomicfile"
)

// A Record says what a SIF file is. It lies beside the file, as FILE.json, and
// goes with it wherever it is uploaded.
type Record struct {
	File        string      `json:"file"`
	Name        string      `json:"name"`
	Version     string      `json:"version"`
	Branch      string      `json:"branch,omitempty"` // as git calls it; empty for a release
	Platform    string      `json:"platform"`         // linux/amd64
	Kind        string      `json:"kind"`             // environment or apptainer, as its definition
	Digest      string      `json:"digest"`           // of the image that it was made from
	Source      string      `json:"source,omitempty"` // where that image came from, if not from a build of ours
	BuildKey    string      `json:"build_key"`        // what the image, or the SIF, is made of
	Lock        string      `json:"lock,omitempty"`   // sha256 of the lockfile, in hex
	Compression Compression `json:"compression"`
	Engine      string      `json:"engine"`              // what made the file: native/tar2sqfs, apptainer 1.4.5
	SignedBy    string      `json:"signed_by,omitempty"` // fingerprint of the key
	Size        int64       `json:"size"`
	SHA256      string      `json:"sha256"` // of the file, in hex
}

// A Folder is where SIF files are made, usually out/sif.
type Folder string

// Path is where a file lies.
func (f Folder) Path(name string) string { return filepath.Join(string(f), name) }

func (f Folder) recordPath(name string) string { return f.Path(name) + ".json" }

// Read returns the record of a file that is there as the record says. The
// error wraps fs.ErrNotExist where it is not.
func (f Folder) Read(name string) (Record, error) {
	text, err := os.ReadFile(f.recordPath(name))
	if err != nil {
		return Record{}, err
	}
	var r Record
	if err := json.Unmarshal(text, &r); err != nil {
		return Record{}, fmt.Errorf("%s: %w: build the SIF again", f.recordPath(name), err)
	}
	info, err := os.Stat(f.Path(name))
	if err != nil {
		return Record{}, err
	}
	if info.Size() != r.Size {
		return Record{}, fmt.Errorf("%s has %d bytes, its record says %d: %w", f.Path(name), info.Size(), r.Size, fs.ErrNotExist)
	}
	return r, nil
}

// List returns the records of all SIFs in the folder, by file name.
func (f Folder) List() ([]Record, error) {
	paths, err := filepath.Glob(f.Path("*" + Ext))
	if err != nil {
		return nil, err
	}
	var records []Record
	for _, path := range paths {
		r, err := f.Read(filepath.Base(path))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	return records, nil
}

// Create makes a SIF: write fills the file, which then takes the place of what
// was there, whole or not at all. The old record goes first and the new one
// comes last: a file without a record is none of ours.
func (f Folder) Create(r Record, write func(path string) error) (Record, error) {
	if err := os.MkdirAll(string(f), 0o755); err != nil {
		return Record{}, err
	}
	if err := f.Sweep(); err != nil {
		return Record{}, err
	}
	part, err := os.CreateTemp(string(f), "."+r.File+".*"+PartExt)
	if err != nil {
		return Record{}, err
	}
	defer os.Remove(part.Name())
	if err := part.Close(); err != nil {
		return Record{}, err
	}
	if err := write(part.Name()); err != nil {
		return Record{}, err
	}
	if r.SHA256, r.Size, err = seal(part.Name()); err != nil {
		return Record{}, err
	}
	if err := os.Remove(f.recordPath(r.File)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Record{}, err
	}
	if err := os.Rename(part.Name(), f.Path(r.File)); err != nil {
		return Record{}, err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return Record{}, err
	}
	return r, atomicfile.Write(f.recordPath(r.File), append(text, '\n'), 0o644)
}

// Unfinished files begin with a dot and contain PartExt. What a killed process
// left goes with the next build a day later: until then it may be at work.
const (
	PartExt = atomicfile.Part
	PartAge = 24 * time.Hour
)

func (f Folder) Sweep() error {
	parts, err := filepath.Glob(f.Path(".*" + PartExt + "*"))
	if err != nil {
		return err
	}
	for _, part := range parts {
		if info, err := os.Stat(part); err == nil && time.Since(info.ModTime()) > PartAge {
			if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// seal makes a finished file what it will be, on disk, and says what that is.
func seal(path string) (sha string, size int64, err error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0) // another one than was created: apptainer writes its own
	if err != nil {
		return "", 0, err
	}
	defer file.Close()
	h := sha256.New()
	if size, err = io.Copy(h, file); err != nil {
		return "", 0, err
	}
	return hex.EncodeToString(h.Sum(nil)), size, errors.Join(file.Chmod(0o755), file.Sync())
}
