package torture

import (
	"context"
	"slices"
	"strings"
	"time"
)

// mirrorCopy is aws s3 sync from another mirror: objects come in the order of their keys, which is
// not Spack's: in layout v2 spec files come before tarballs, in layout v3 blobs before manifests.
// What is there with the same size is left alone.
func mirrorCopy(ctx context.Context, a *Actor, specs []*Spec, layout int, signed bool, each time.Duration) error {
	var list []upload
	for _, s := range specs {
		if !s.External {
			list = append(list, push{layout: layout, signed: signed}.uploads(s)...)
		}
	}
	a.tested = time.Now()
	there := map[string]bool{}
	keys, err := a.list(ctx, "", "")
	if err != nil {
		return err
	}
	for _, key := range keys {
		there[key] = true
	}
	for _, u := range sortUploads(list) {
		if there[u.key] {
			continue
		}
		if err := a.write(ctx, u.key, u.body); err != nil {
			return err
		}
		if err := a.pauseFor(ctx, each, a.hash("sync", u.key, 0)); err != nil {
			return err
		}
	}
	return nil
}

func sortUploads(list []upload) []upload {
	slices.SortFunc(list, func(a, b upload) int { return strings.Compare(a.key, b.key) })
	return slices.CompactFunc(list, func(a, b upload) bool { return a.key == b.key })
}

// fetch installs what an index names, from an index that may be ten minutes old.
func fetch(ctx context.Context, a *Actor, specs []*Spec, layout int, age time.Duration) {
	key := []string{indexV2, indexV3}[btoi(layout == 3)]
	text, _ := a.read(ctx, key)
	seen := time.Now()
	if m := readManifest(unsigned(text)); layout == 3 && m != nil {
		text, _ = a.read(ctx, m.spec)
	}
	named := readIndex(text)
	if a.pause(ctx, min(age, settle-2*time.Minute)) != nil {
		return
	}
	for _, s := range specs {
		if s.External || !named[s.Hash] {
			continue
		}
		keys := []string{s.manifestKey(), blobKey(s.tarball())}
		if layout == 2 {
			if keys = []string{s.specFileKey(false), s.tarballKey()}; a.w.holdsKey(s.specFileKey(true)) {
				keys[0] = s.specFileKey(true)
			}
		}
		for _, k := range keys {
			if time.Since(seen) > settle-time.Minute {
				return
			}
			there, err := a.read(ctx, k)
			a.w.mu.Lock()
			if there == nil && err == nil {
				a.w.oracle.unread(a, k, key, seen)
			}
			a.w.fetched[s.Hash] = time.Now()
			a.w.mu.Unlock()
		}
	}
}

func (w *World) holdsKey(key string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bucket.objects[key] != nil
}
