// Package buildtime finds out how long the packages of a build cache took to build.
//
// Spack writes that into .spack/install_times.json of each package, which is among the first files
// of its tarball: a few kilobytes are read of each, once. Where it is missing, as in what some
// versions of Spack made or what was installed from another cache, Estimate guesses.
package buildtime

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Bounds of what is read of a tarball, and of what is believed.
const (
	maxRead    = 16 << 20          // bytes as stored: a manifest of 40 000 files is before it
	maxPlain   = 256 << 20         // bytes unpacked
	maxEntries = 20_000            // before it
	maxTimes   = 1 << 20           // bytes of the file
	maxSeconds = 60 * 24 * 60 * 60 // two months
)

// Read returns the seconds that a package took to build, as its tarball says. It is -1 where the
// tarball is not there, cannot be unpacked, or does not say so; errors are those of the store.
//
// Nothing is verified, as the tarball is not read to its end: whoever can write to the cache decides
// what is read here, within the bounds of a number of seconds.
func Read(ctx context.Context, store buildcache.Store, key string, size int64) (float64, error) {
	r := &ranges{ctx: ctx, store: store, key: key, size: min(size, maxRead)}
	defer r.close()
	seconds := scan(r)
	if errors.Is(r.err, fs.ErrNotExist) {
		return -1, nil
	}
	return seconds, r.err
}

// scan reads as much of a tarball as it takes.
func scan(r io.Reader) float64 {
	unzipped, err := gzip.NewReader(r)
	if err != nil {
		return -1
	}
	archive := tar.NewReader(io.LimitReader(unzipped, maxPlain))
	inside := false // of .spack
	for range maxEntries {
		header, err := archive.Next()
		if err != nil {
			return -1
		}
		switch {
		case strings.HasSuffix(header.Name, "/.spack/install_times.json") && header.Typeflag == tar.TypeReg:
			text, err := io.ReadAll(io.LimitReader(archive, maxTimes))
			if err != nil {
				return -1
			}
			return Parse(text)
		case strings.Contains(header.Name, "/.spack/"):
			inside = true
		case inside:
			return -1 // what lies in one folder lies together
		}
	}
	return -1
}

// Parse returns the seconds that an install_times.json tells of, or -1. Those of a package that was
// installed from a cache are not those of its build.
func Parse(text []byte) float64 {
	var f struct {
		Total  json.RawMessage `json:"total"` // a number
		Cache  bool            `json:"cache"`
		Phases []struct {
			Path    string  `json:"path"` // a/b is part of a
			Seconds float64 `json:"seconds"`
		} `json:"phases"`
	}
	if json.Unmarshal(text, &f) != nil || f.Cache {
		return -1
	}
	var seconds float64
	if json.Unmarshal(f.Total, &seconds) != nil {
		for _, p := range f.Phases {
			if !strings.Contains(p.Path, "/") {
				seconds += p.Seconds
			}
		}
	}
	if !(seconds > 0 && seconds <= maxSeconds) || math.IsNaN(seconds) {
		return -1
	}
	return seconds
}
