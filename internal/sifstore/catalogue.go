package sifstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/sif"
)

// A listing that does not end, or that is full of manifests, ends here.
const (
	maxKeys    = 1_000_000 // in folders of the store, which are none of ours
	maxObjects = 100_000
	maxRead    = 256 << 20 // bytes of all manifests
)

// A catalogue is all that a store has: its manifests and objects.
type catalogue struct {
	manifests []*Manifest // by name
	objects   map[string]buildcache.Object
	incoming  []buildcache.Object // on their way, or left by an upload that was killed
	locks     []buildcache.Object // lockfiles of SIFs
}

// readCatalogue lists a store. Folders in it are none of ours, nor is JSON
// whose name could be no container's.
func readCatalogue(ctx context.Context, store buildcache.Store, keys Keys) (catalogue, error) {
	c, err := listStore(ctx, store)
	if err != nil {
		return catalogue{}, err
	}
	var read int64
	for key, object := range c.objects {
		container, ok := strings.CutSuffix(key, ".json")
		if !ok || !sif.ValidContainer(container) || strings.HasSuffix(container, sif.Ext) {
			continue
		}
		if read += object.Size; read > maxRead {
			return catalogue{}, fmt.Errorf("the manifests in %v have more than %d MB", store, maxRead>>20)
		}
		m, _, err := readManifest(ctx, store, keys, container)
		if err != nil {
			return catalogue{}, err
		}
		c.manifests = append(c.manifests, m)
	}
	slices.SortFunc(c.manifests, func(a, b *Manifest) int { return cmp.Compare(a.Name, b.Name) })
	return c, nil
}

func listStore(ctx context.Context, store buildcache.Store) (catalogue, error) {
	c := catalogue{objects: map[string]buildcache.Object{}}
	listed, kept := 0, 0
	for object, err := range store.List(ctx, "") {
		if err != nil {
			return catalogue{}, err
		}
		listed++
		switch {
		case strings.HasPrefix(object.Key, incoming):
			c.incoming = append(c.incoming, object)
			kept++
		case strings.HasPrefix(object.Key, locks):
			c.locks = append(c.locks, object)
			kept++
		case !strings.Contains(object.Key, "/"):
			c.objects[object.Key] = object
			kept++
		}
		if listed > maxKeys || kept > maxObjects {
			return catalogue{}, fmt.Errorf("%v lists more than %d objects, %d of them beside each other: it is no place for SIFs, or its listing does not end", store, listed-1, kept-1)
		}
	}
	return c, nil
}
