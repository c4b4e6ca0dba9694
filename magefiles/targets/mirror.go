package targets

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/file"
	"github.com/openbraininstitute/spacktainers/buildcache/s3"
)

// A store is a mirror, wherever it lies.
type store interface {
	buildcache.Store
	buildcache.Writer
}

var errNoCache = wrongCall("no build cache: name one as mirror under platforms in spacktainers.yaml, or give --mirror=URL")

// caches reports whether a platform has a build cache.
func (c Config) caches() bool {
	for _, p := range c.Platforms {
		if p.Mirror != "" {
			return true
		}
	}
	return false
}

// openStore opens the mirror at an address: s3://BUCKET/PREFIX, or a folder. What
// is sent to a bucket is counted in requests, which is nil for a folder.
func (a *app) openStore(ctx context.Context, address string) (s store, requests fmt.Stringer, err error) {
	at, err := a.location(address)
	if err != nil {
		return nil, nil, err
	}
	if !at.IsBucket() {
		folder, err := file.Open(at.Folder)
		return folder, nil, err
	}
	bucket, err := s3.Open(ctx, at.String(), a.bucketOptions(at))
	if err != nil {
		return nil, nil, err
	}
	return bucket, bucket.Requests(), nil
}

// openCache opens a mirror. keyFiles, by commas, are the public keys of which
// one must have signed each package; without any, signatures are not asked for.
func (a *app) openCache(ctx context.Context, mirror, keyFiles string) (*buildcache.Cache, error) {
	var keys *buildcache.Keyring
	if keyFiles != "" {
		var err error
		if keys, err = readKeys(keyFiles); err != nil {
			return nil, err
		}
	}
	store, _, err := a.openStore(ctx, mirror)
	if err != nil {
		return nil, err
	}
	return buildcache.Open(ctx, store, keys)
}

// readKeys reads public keys from files, by commas.
func readKeys(keyFiles string) (*buildcache.Keyring, error) {
	var armored [][]byte
	for _, path := range strings.Split(keyFiles, ",") {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("public key: %w", err)
		}
		armored = append(armored, text)
	}
	keys, err := buildcache.ReadKeyring(armored...)
	if err != nil {
		return nil, fmt.Errorf("public key %s: %w", keyFiles, err)
	}
	return keys, nil
}
