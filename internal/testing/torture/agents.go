package torture

import (
	"context"
	"errors"
	"time"
)

// The programs beside the janitor, in Spack's order of uploads. What they know of the cache they
// read from it.

// A client is what they use of a bucket: an Actor, or what has a real one.
type client interface {
	read(ctx context.Context, key string) ([]byte, error) // nil is that there is none
	write(ctx context.Context, key string, body []byte) error
	list(ctx context.Context, prefix, suffix string) ([]string, error)
	Delete(ctx context.Context, keys []string) error
	pause(ctx context.Context, d time.Duration) error
}

// A push is spack buildcache push.
type push struct {
	specs     []*Spec
	layout    int
	signed    bool
	force     bool          // delete and upload what is there
	build     time.Duration // between looking what is there and uploading
	each      time.Duration // between two specs
	dieBehind int           // so many uploads; 0 is none
	update    bool          // the index, at the end
}

func (p push) run(ctx context.Context, a client, g *Graph) error {
	// What is there is asked for all specs first.
	var missing []*Spec
	for _, s := range p.specs {
		if s.External {
			continue
		}
		there, err := p.there(ctx, a, s)
		if err != nil {
			return err
		}
		if !there || p.force {
			missing = append(missing, s)
		}
	}
	if err := a.pause(ctx, p.build); err != nil {
		return err
	}
	uploads := 0
	for _, s := range missing {
		for _, u := range p.uploads(s) {
			if u.body == nil {
				if err := a.Delete(ctx, []string{u.key}); err != nil {
					return err
				}
				continue
			}
			if err := a.write(ctx, u.key, u.body); err != nil {
				return err
			}
			if uploads++; uploads == p.dieBehind {
				return errKilled
			}
		}
		if err := a.pause(ctx, p.each); err != nil {
			return err
		}
	}
	if p.layout == 3 {
		if err := a.write(ctx, "v3/layout.json", []byte(`{"signing": "gpg"}`)); err != nil {
			return err
		}
	}
	if p.update {
		return updateIndex(ctx, a, g, p.layout, "", 0)
	}
	return nil
}

// there is Spack's test whether a spec can be skipped: v2 looks for its files, v3 reads the
// manifest.
func (p push) there(ctx context.Context, a client, s *Spec) (bool, error) {
	if p.layout == 3 {
		text, err := a.read(ctx, s.manifestKey())
		return text != nil, err
	}
	for _, key := range []string{s.specFileKey(true), s.specFileKey(false)} {
		if text, err := a.read(ctx, key); text != nil || err != nil {
			return text != nil, err
		}
	}
	return false, nil
}

type upload struct {
	key  string
	body []byte // nil is a deletion
}

func (p push) uploads(s *Spec) (list []upload) {
	if p.layout == 2 {
		if p.force {
			list = append(list, upload{s.tarballKey(), nil}, upload{s.specFileKey(p.signed), nil})
		}
		return append(list, upload{s.tarballKey(), s.tarball()}, upload{s.specFileKey(p.signed), s.specFile(p.signed)})
	}
	return append(list, upload{blobKey(s.tarball()), s.tarball()}, upload{blobKey(s.specBlob()), s.specBlob()},
		upload{s.manifestKey(), s.manifest(p.signed)})
}

// updateIndex is spack buildcache update-index: it lists spec files, reads each, and overwrites the
// index. pause is the time between listing and reading, which is long for big caches.
func updateIndex(ctx context.Context, a client, g *Graph, layout int, view string, pause time.Duration) error {
	prefix := []string{"build_cache/", "v3/manifests/spec/"}[btoi(layout == 3)]
	keys, err := a.list(ctx, prefix, "")
	if err != nil {
		return err
	}
	if err := a.pause(ctx, pause); err != nil {
		return err
	}
	byHash := map[string]*Spec{}
	for _, s := range g.Specs {
		byHash[s.Hash] = s
	}
	var cached []*Spec
	for _, key := range keys {
		k, hash := sortKey(key)
		if k != specFile && k != specManifest || byHash[hash] == nil {
			continue
		}
		text, err := a.read(ctx, key)
		if err != nil {
			return err
		}
		if text == nil && layout == 2 {
			return errors.New("problem pushing package index: expected string or bytes-like object, got 'NoneType'")
		}
		// A view names what its environment has: here every second spec.
		if text != nil && (view == "" || hash[1]%2 == 0) {
			cached = append(cached, byHash[hash])
		}
	}
	if len(cached) == 0 {
		return errors.New("unable to generate package index")
	}
	return writeIndex(ctx, a, layout, view, cached)
}

func writeIndex(ctx context.Context, a client, layout int, view string, cached []*Spec) error {
	text := index(cached, 5+layout)
	if layout == 2 {
		if err := a.write(ctx, indexV2, text); err != nil {
			return err
		}
		return a.write(ctx, indexV2Hash, []byte(digest(text)))
	}
	text = index(cached, 8)
	if err := a.write(ctx, blobKey(text), text); err != nil {
		return err
	}
	key := indexV3
	if view != "" {
		key = viewKey(view)
	}
	return a.write(ctx, key, manifest(blob{"application/vnd.spack.db.v8+json", "none", text}))
}
