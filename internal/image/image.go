// Package image is where the steps meet: a build leaves a standard OCI image
// layout and a small record beside it, and whatever comes next (publish, sif)
// reads those, now or on another machine:
//
//	out/images/NAME/linux-amd64/        the layout
//	out/images/NAME/linux-amd64.json    the record
//	out/images/NAME/linux-amd64.lock    the lockfile that was installed
//
// A layout without its record is no result: the record is written last.
package image

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// A Record says what is in the layout beside it.
type Record struct {
	Name     string  `json:"name"`
	Version  string  `json:"version"`
	Platform string  `json:"platform"` // linux/amd64
	Engine   string  `json:"engine"`   // what built it: assemble or podman
	Digest   v1.Hash `json:"digest"`   // of the image manifest
	BuildKey string  `json:"build_key"`
	Inputs   []Input `json:"inputs"`         // what the build key is made of
	Lock     string  `json:"lock"`           // sha256 of the lockfile, in hex
	Base     string  `json:"base,omitempty"` // the base image by digest

	Concretization string `json:"concretization,omitempty"` // key of what decided the lockfile; empty where it was given

	Bytes int64 `json:"-"` // of the layers as they are stored, where a registry has said; 0: not known

	Log string `json:"log,omitempty"` // path of the build's log, relative to the record
}

// A Tree is the folder that images are handed over in, usually out/images.
type Tree string

// Dir is the layout of a container for a platform.
func (t Tree) Dir(name, platform string) string {
	return filepath.Join(string(t), name, slug(platform))
}

// LockFile is the lockfile that the image was made from.
func (t Tree) LockFile(name, platform string) string { return t.Dir(name, platform) + ".lock" }

func (t Tree) recordFile(name, platform string) string { return t.Dir(name, platform) + ".json" }

// slug is a platform as a file name: linux-amd64.
func slug(platform string) string { return strings.ReplaceAll(platform, "/", "-") }

// Read returns the record of an image. The error wraps fs.ErrNotExist when
// there is none.
func (t Tree) Read(name, platform string) (Record, error) {
	path := t.recordFile(name, platform)
	text, err := os.ReadFile(path)
	if err != nil {
		return Record{}, err
	}
	var record Record
	if err := json.Unmarshal(text, &record); err != nil {
		return Record{}, fmt.Errorf("%s: %w: build the container again", path, err)
	}
	return record, nil
}

// List returns the records of every image in the tree, by name and platform.
func (t Tree) List() ([]Record, error) {
	paths, err := filepath.Glob(filepath.Join(string(t), "*", "*.json"))
	if err != nil {
		return nil, err
	}
	var records []Record
	for _, path := range paths {
		name := filepath.Base(filepath.Dir(path))
		record, err := t.Read(name, strings.TrimSuffix(filepath.Base(path), ".json"))
		if err != nil {
			return nil, err
		}
		records = append(records, record)
	}
	return records, nil
}

// Open returns the image of a record, as its layout holds it.
func (t Tree) Open(record Record) (v1.Image, error) {
	dir := t.Dir(record.Name, record.Platform)
	path, err := layout.FromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("%s is no image layout: %w: build the container again", dir, err)
	}
	image, err := path.Image(record.Digest)
	if err != nil {
		return nil, fmt.Errorf("%s holds no image %s: %w: build the container again", dir, record.Digest, err)
	}
	return image, nil
}
