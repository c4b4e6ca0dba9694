package janitor

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A versioned store may keep what is deleted from it; whether it does must be
// asked. Then nothing needs to be copied to the trash.
type versioned interface {
	Versioning(ctx context.Context) (bool, error)
	// Versions yields the newest of each key first.
	Versions(ctx context.Context, prefix string) iter.Seq2[buildcache.Version, error]
	// DeleteMarking returns the IDs of the delete markers by key.
	DeleteMarking(ctx context.Context, keys []string) (map[string]string, error)
	DeleteVersions(ctx context.Context, versions []buildcache.Version) error
	CopyVersion(ctx context.Context, from buildcache.Version, to string) error
}

func versionsOf(store Store) (versioned, bool) {
	v, ok := capable(store).(versioned)
	return v, ok
}

// capable returns the store that can do more than others, if there is one.
func capable(store buildcache.Store) buildcache.Store {
	if c, ok := store.(careful); ok {
		return c.Store
	}
	return store
}

// A keeping is what a run knows of the versions that its store keeps.
type keeping struct {
	store versioned
	going map[string]buildcache.Version // what the plan deletes, by key

	mu      sync.Mutex
	markers map[string]string // IDs of our delete markers, by key
}

// asVersions is the step of a journal that names versions.
const asVersions = "kept as versions"

// keepVersions writes down which versions the plan deletes, if the store keeps
// them. Where it does not, or will not say, there is the trash.
func (r *run) keepVersions(ctx context.Context) error {
	store, ok := versionsOf(r.Store)
	if !ok {
		return nil
	}
	on, err := store.Versioning(ctx)
	if err == nil && !on {
		return nil
	}
	goes := map[string]Deletion{}
	for d := range r.plan.Deletions() {
		if d.Kind != Own {
			goes[d.Key] = d
		}
	}
	k := &keeping{store: store, going: map[string]buildcache.Version{}, markers: map[string]string{}}
	if err == nil {
		err = k.find(ctx, goes)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		instead := "this run cannot be taken back"
		if r.KeepFor > 0 {
			instead = "what goes is copied to the trash"
		}
		r.Log("whether the bucket keeps versions is not known, so that %s: %v", instead, err)
		return nil
	}
	versions := map[string]Version{}
	for key := range goes {
		v, ok := k.going[key]
		if !ok {
			return fmt.Errorf("versions: %s is not there as it was: nothing was deleted, run again", key)
		}
		versions[key] = Version{v.ID, v.ETag, v.Size}
	}
	r.keeping, r.res.Kept = k, asVersions
	return r.journal.write(ctx, Step{What: asVersions, Versions: versions})
}

// find looks for the versions that the plan has seen.
func (k *keeping) find(ctx context.Context, goes map[string]Deletion) error {
	keys := map[string]bool{}
	for key := range goes {
		keys[key] = true
	}
	all, err := listVersions(ctx, k.store, keys)
	for key, d := range goes {
		for _, v := range all[key] {
			if v.Latest && v.ID != "" && (Version{v.ID, d.ETag, d.Size}).is(v) {
				k.going[key] = v
			}
		}
	}
	return err
}

// listVersions returns all versions of some objects, the newest first.
func listVersions(ctx context.Context, store versioned, keys map[string]bool) (map[string][]buildcache.Version, error) {
	folders := map[string]bool{}
	for key := range keys {
		folder, _, _ := strings.Cut(key, "/")
		folders[folder+"/"] = true
	}
	found := map[string][]buildcache.Version{}
	for _, folder := range slices.Sorted(maps.Keys(folders)) {
		for v, err := range store.Versions(ctx, folder) {
			if err != nil {
				return nil, err
			}
			if keys[v.Key] {
				found[v.Key] = append(found[v.Key], v)
			}
		}
	}
	return found, nil
}

// remove deletes, and remembers the delete markers if there are any.
func (r *run) remove(ctx context.Context, keys []string) error {
	if r.keeping == nil {
		return r.Store.Delete(ctx, keys)
	}
	markers, err := r.keeping.store.DeleteMarking(ctx, keys)
	r.keeping.mu.Lock()
	defer r.keeping.mu.Unlock()
	maps.Copy(r.keeping.markers, markers)
	return err
}

// marked returns the delete markers that we have put on some objects.
func (k *keeping) marked(keys iter.Seq[string]) map[string]string {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	found := map[string]string{}
	for key := range keys {
		if id := k.markers[key]; id != "" {
			found[key] = id
		}
	}
	return found
}

// bringBack copies an object to where the run has deleted it.
func (r *run) bringBack(ctx context.Context, key string) error {
	if r.keeping != nil {
		return r.keeping.store.CopyVersion(ctx, r.keeping.going[key], key)
	}
	return r.Store.Copy(ctx, trashPrefix(r.journal.run)+key, key)
}

// A versionRecord is what a journal says of versions, by key.
type versionRecord struct {
	versions map[string]Version
	markers  map[string]string
}

// recorded returns nil for a run that kept no versions.
func recorded(steps []Step) *versionRecord {
	if !slices.ContainsFunc(steps, func(s Step) bool { return s.What == asVersions }) {
		return nil
	}
	r := &versionRecord{map[string]Version{}, map[string]string{}}
	for _, s := range steps {
		maps.Copy(r.versions, s.Versions)
		maps.Copy(r.markers, s.Markers)
	}
	return r
}

func (r *versionRecord) keys() map[string]bool {
	keys := map[string]bool{}
	for key := range r.versions {
		keys[key] = true
	}
	return keys
}

// back returns the version of a deleted object that an undo restores: the one
// that the run has seen, or what came in between and our marker hides. What
// somebody else wrote and deleted since is theirs.
func (r *versionRecord) back(key string, all []buildcache.Version) (v buildcache.Version, state versionState) {
	for _, v := range all {
		switch {
		case v.Latest && !v.Deleted:
			return v, isThere
		case v.Deleted:
			continue
		case r.versions[key].is(v), all[0].Deleted && all[0].ID == r.markers[key]:
			return v, isHidden
		}
		return v, isForeign
	}
	return v, isGone
}

type versionState int

const (
	isThere   versionState = iota
	isHidden               // by our delete marker
	isForeign              // and deleted by somebody else
	isGone                 // for good
)

// old returns the versions that the run has deleted and nobody sees, and of
// its delete markers those that hide nothing once the versions are gone.
func (r *versionRecord) old(key string, all []buildcache.Version) (versions, markers []buildcache.Version) {
	content := false // other than ours
	for _, v := range all {
		switch {
		case v.Deleted:
		case r.versions[key].is(v) && !v.Latest:
			versions = append(versions, v)
		default:
			content = true
		}
	}
	for _, v := range all {
		if v.Deleted && v.ID == r.markers[key] && (!content || !v.Latest) {
			markers = append(markers, v)
		}
	}
	return versions, markers
}
