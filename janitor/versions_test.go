package janitor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/s3"
	"github.com/openbraininstitute/spacktainers/internal/testing/faultproxy"
	"github.com/openbraininstitute/spacktainers/internal/testing/s3test"
	"github.com/openbraininstitute/spacktainers/janitor"
)

// A versionedMemory is a memory that keeps what is deleted, as a bucket does.
type versionedMemory struct {
	*memory
	mu       sync.Mutex
	n        int
	versions map[string][]kept // the newest last
	refuses  error             // to say whether it keeps anything
	asked    int
}

type kept struct {
	stored
	id      string
	deleted bool
}

// keeping turns a memory into one that keeps versions; what is there is "null".
func keeping(m *memory) *versionedMemory {
	v := &versionedMemory{memory: m, versions: map[string][]kept{}}
	for key, s := range m.objects {
		v.versions[key] = []kept{{s, "null", false}}
	}
	return v
}

func (m *versionedMemory) clone() *versionedMemory {
	c := &versionedMemory{memory: m.memory.clone(), n: m.n, versions: map[string][]kept{}}
	for key, all := range m.versions {
		c.versions[key] = slices.Clone(all)
	}
	return c
}

// record adds the present state of a key to its versions.
func (m *versionedMemory) record(key string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.memory.mu.Lock()
	defer m.memory.mu.Unlock()
	m.n++
	id := fmt.Sprintf("v%d", m.n)
	s, there := m.objects[key]
	m.versions[key] = append(m.versions[key], kept{s, id, !there})
	return id
}

func (m *versionedMemory) Put(ctx context.Context, key string, body io.ReaderAt, size int64, opts buildcache.PutOptions) (string, error) {
	etag, err := m.memory.Put(ctx, key, body, size, opts)
	if err == nil {
		m.record(key)
	}
	return etag, err
}

func (m *versionedMemory) Copy(ctx context.Context, from, to string) error {
	err := m.memory.Copy(ctx, from, to)
	if err == nil {
		m.record(to)
	}
	return err
}

func (m *versionedMemory) Delete(ctx context.Context, keys []string) error {
	_, err := m.DeleteMarking(ctx, keys)
	return err
}

func (m *versionedMemory) DeleteMarking(ctx context.Context, keys []string) (map[string]string, error) {
	m.catchUp()
	err := m.memory.Delete(ctx, keys)
	markers := map[string]string{}
	for _, key := range keys {
		if m.data(key) == nil {
			markers[key] = m.record(key)
		}
	}
	return markers, err
}

func (m *versionedMemory) Versioning(context.Context) (bool, error) {
	m.asked++
	return m.refuses == nil, m.refuses
}

// catchUp records what others have written past it.
func (m *versionedMemory) catchUp() {
	var late []string
	m.mu.Lock()
	m.memory.mu.Lock()
	for key, s := range m.objects {
		if all := m.versions[key]; len(all) == 0 || all[len(all)-1].deleted || all[len(all)-1].etag != s.etag {
			late = append(late, key)
		}
	}
	m.memory.mu.Unlock()
	m.mu.Unlock()
	for _, key := range late {
		m.record(key)
	}
}

func (m *versionedMemory) Versions(ctx context.Context, prefix string) iter.Seq2[buildcache.Version, error] {
	return func(yield func(buildcache.Version, error) bool) {
		m.catchUp()
		for _, key := range slices.Sorted(maps.Keys(m.versions)) {
			all := m.versions[key]
			for i, k := range slices.Backward(all) {
				o := buildcache.Object{Key: key, Size: int64(len(k.data)), ETag: k.etag, ModTime: k.at}
				v := buildcache.Version{Object: o, ID: k.id, Latest: i == len(all)-1, Deleted: k.deleted}
				if strings.HasPrefix(key, prefix) && !yield(v, ctx.Err()) {
					return
				}
			}
		}
	}
}

func (m *versionedMemory) DeleteVersions(ctx context.Context, versions []buildcache.Version) error {
	for _, v := range versions {
		if err := m.write("delete version", v.Key); err != nil {
			return err
		}
		all := slices.DeleteFunc(m.versions[v.Key], func(k kept) bool { return k.id == v.ID })
		m.versions[v.Key] = all
		delete(m.objects, v.Key)
		if n := len(all); n > 0 && !all[n-1].deleted {
			m.objects[v.Key] = all[n-1].stored
		} else if n == 0 {
			delete(m.versions, v.Key)
		}
	}
	return ctx.Err()
}

func (m *versionedMemory) CopyVersion(ctx context.Context, from buildcache.Version, to string) error {
	if err := m.write("copy", to); err != nil {
		return err
	}
	m.mu.Lock()
	all := slices.Clone(m.versions[from.Key])
	m.mu.Unlock()
	for _, k := range all {
		if k.id == from.ID && !k.deleted {
			m.set(to, k.data, m.clock())
			m.record(to)
			return ctx.Err()
		}
	}
	return fs.ErrNotExist
}

// trashed returns the keys in the trash that are no indexes.
func (m *memory) trashed() (keys []string) {
	for key := range m.objects {
		if strings.HasPrefix(key, janitor.Prefix+"trash/") && !strings.Contains(key, "/indexes/") {
			keys = append(keys, key)
		}
	}
	return keys
}

// same holds a mirror to what it was before a run was made and taken back.
func same(t *testing.T, when string, before, after map[string]string) {
	t.Helper()
	for key, data := range before {
		if after[key] != data {
			t.Errorf("%s: %s is not what it was", when, key)
		}
	}
	if len(after) > len(before)+1 { // the index that the run wrote is an orphan now
		t.Errorf("%s: %d objects, there were %d", when, len(after), len(before))
	}
}

func TestUndoByVersionsBringsEveryByteBack(t *testing.T) {
	for _, name := range bundled {
		for _, keepFor := range []time.Duration{0, 14 * day} {
			m := keeping(loaded(t, name))
			before := m.contents()
			j := clean(m.memory)
			j.Store, j.KeepFor = m, keepFor
			r, err := j.Apply(t.Context(), plan(t, m.memory, locks(t, name, "env-a"), bold))
			if err != nil || r.Kept == "" {
				t.Fatalf("%s: %+v, %v", name, r, err)
			}
			if cmp.Equal(before, m.contents()) || len(m.trashed()) > 0 || m.asked != 1 {
				t.Fatalf("%s: %d objects in the trash, asked %d times", name, len(m.trashed()), m.asked)
			}
			undone, err := j.Undo(t.Context(), r.Run)
			if err != nil {
				t.Fatal(err)
			}
			if undone.Objects != r.Objects || undone.Specs != r.Specs {
				t.Errorf("%s: took back %+v of %+v", name, undone, r)
			}
			same(t, name, before, m.contents())
			view(t, m.contents()).noHoles(t, name)
			if again, err := j.Undo(t.Context(), r.Run); err != nil || again.Objects != 0 {
				t.Errorf("%s: undone twice: %+v, %v", name, again, err)
			}
			tidy := bold
			tidy.Grace = day
			if p := plan(t, m.memory, locks(t, name, "env-a"), tidy); len(list(p.Going())) > 0 {
				t.Errorf("%s: what came back does not count as new: %v", name, list(p.Going()))
			}
		}
	}
}

func TestUndoByVersionsOfARunThatWasKilledAtAnyWrite(t *testing.T) {
	for _, name := range bundled {
		if testing.Short() || strings.HasSuffix(name, "-signed") {
			continue
		}
		start := keeping(loaded(t, name))
		before := start.contents()
		p := plan(t, start.memory, locks(t, name, "env-a"), bold)
		for n := 1; ; n++ {
			m := start.clone()
			left := n
			var mu sync.Mutex
			ctx, kill := context.WithCancel(t.Context())
			m.before = func(string, string) error {
				mu.Lock()
				defer mu.Unlock()
				if left--; left < 0 {
					kill()
					return errDown
				}
				return nil
			}
			j := clean(m.memory)
			j.Store = m
			_, err := j.Apply(ctx, p)
			kill()
			if err == nil {
				break // it has no more than n writes
			}
			when := fmt.Sprintf("%s killed at write %d", name, n)
			m.before = nil
			j.Now = func() time.Time { return now.Add(time.Hour) }
			if _, err := j.Undo(t.Context(), p.Run); err != nil && !cmp.Equal(before, m.contents()) {
				t.Errorf("%s: %v", when, err)
			}
			same(t, when, before, m.contents())
			view(t, m.contents()).noHoles(t, when)
		}
	}
}

// Others write to the same keys, before the run and after it.
func TestVersionsOfOthersStayUntouched(t *testing.T) {
	const name = "v2-unsigned"
	m := keeping(loaded(t, name))
	p := plan(t, m.memory, locks(t, name, "env-a"), bold)
	var specs []string
	for _, d := range list(p.Deletions()) {
		if d.Kind == janitor.SpecFile {
			specs = append(specs, d.Key)
		}
	}
	again, deleted, older := specs[0], specs[1], specs[2]
	m.versions[older] = slices.Insert(m.versions[older], 0, kept{stored{[]byte("once"), "once", old}, "v0", false})
	text := m.data(again)
	j := clean(m.memory)
	j.Store, j.KeepFor = m, 14*day
	r, err := j.Apply(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{again, deleted} { // pushed again since, one of them for a while only
		if _, err := m.Put(t.Context(), key, strings.NewReader(string(text)+" "), int64(len(text))+1, buildcache.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Delete(t.Context(), []string{deleted}); err != nil {
		t.Fatal(err)
	}
	theirs := map[string]kept{}
	for _, key := range []string{again, deleted} {
		theirs[key] = m.versions[key][2]
	}
	c := m.clone()

	undone, err := j.Undo(t.Context(), r.Run)
	if err != nil || len(undone.Stayed) != 1 || !strings.Contains(undone.Stayed[0], deleted) {
		t.Fatalf("got %+v, %v", undone, err)
	}
	if got := string(m.data(again)); got != string(text)+" " || m.data(deleted) != nil || string(m.data(older)) == "once" {
		t.Errorf("got %q, %q, %q", got, m.data(deleted), m.data(older))
	}

	for _, m := range []*versionedMemory{m, c} { // undone, or not
		j.Store = m
		j.Now = func() time.Time { return now.Add(15 * day) }
		before := m.contents()
		res, err := j.GCTrash(t.Context())
		if err != nil || res.Objects != r.Objects+1 { // and the index
			t.Errorf("got %+v, %v, want %d", res, err, r.Objects+1)
		}
		same(t, "collected", before, m.contents())
		for key, want := range theirs {
			if !slices.ContainsFunc(m.versions[key], func(k kept) bool { return k.id == want.id }) {
				t.Errorf("the version that somebody else wrote of %s is gone", key)
			}
			if slices.ContainsFunc(m.versions[key], func(k kept) bool { return k.id == "null" }) {
				t.Errorf("%s: the version that the run deleted is there", key)
			}
		}
		if all := m.versions[older]; all[0].id != "v0" || len(m.objects[older].data) == len("once") {
			t.Errorf("got %+v", all)
		}
		for _, key := range specs[3:] {
			if all := m.versions[key]; m == c && len(all) > 0 {
				t.Errorf("%s: left %+v", key, all)
			}
		}
		if res, err := j.GCTrash(t.Context()); err != nil || res.Objects != 0 {
			t.Errorf("collected twice: %+v, %v", res, err)
		}
	}
	j.Store = c
	if _, err := j.Undo(t.Context(), r.Run); !errors.Is(err, janitor.ErrRefused) || !strings.Contains(err.Error(), "gc-trash") {
		t.Errorf("undone without versions: %v", err)
	}
}

func TestWithoutAnAnswerThereIsTheTrash(t *testing.T) {
	for _, keepFor := range []time.Duration{0, 14 * day} {
		m := keeping(loaded(t, "v3-unsigned"))
		m.refuses = errDown
		before := m.contents()
		var notes []string
		j := clean(m.memory)
		j.Store, j.KeepFor = m, keepFor
		j.Log = func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
		r, err := j.Apply(t.Context(), plan(t, m.memory, locks(t, "v3-unsigned", "env-a"), bold))
		if err != nil {
			t.Fatal(err)
		}
		want := "copied to the trash"
		if keepFor == 0 {
			want = "cannot be taken back"
		}
		if all := strings.Join(notes, "\n"); !strings.Contains(all, want) || !strings.Contains(all, errDown.Error()) {
			t.Errorf("said %s", all)
		}
		if (len(m.trashed()) > 0) != (keepFor > 0) {
			t.Errorf("%d objects in the trash", len(m.trashed()))
		}
		if _, err := j.Undo(t.Context(), r.Run); (err == nil) != (keepFor > 0) {
			t.Errorf("undo: %v", err)
		} else if err == nil {
			same(t, "undone", before, m.contents())
		}
	}
}

func TestOldJournalsGo(t *testing.T) {
	const name = "v3-unsigned"
	journals := func(m *memory) (n int) {
		for key := range m.objects {
			if strings.HasPrefix(key, janitor.Prefix+"runs/") || strings.HasPrefix(key, janitor.Prefix+"trash/") {
				n++
			}
		}
		return n
	}
	for what, tt := range map[string]struct {
		versioned bool
		keepFor   time.Duration
		after     time.Duration
		stays     bool
	}{
		"young":                            {false, 0, 89 * day, true},
		"old":                              {false, 0, 91 * day, false},
		"old, but wanted for longer":       {false, 100 * day, 91 * day, true},
		"wanted for long, and over":        {false, 100 * day, 101 * day, false},
		"over":                             {false, 14 * day, 91 * day, false},
		"versions":                         {true, 14 * day, 91 * day, false},
		"versions that are wanted":         {true, 100 * day, 91 * day, true},
		"versions that nobody has limited": {true, 0, 91 * day, true},
	} {
		m := keeping(loaded(t, name))
		j := clean(m.memory)
		if j.KeepFor = tt.keepFor; tt.versioned {
			j.Store = m
		}
		r, err := j.Apply(t.Context(), plan(t, m.memory, locks(t, name, "env-a"), bold))
		if err != nil {
			t.Fatal(err)
		}
		j.Now = func() time.Time { return now.Add(tt.after) }
		if _, err := j.GCTrash(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := journals(m.memory); (n > 0) != tt.stays {
			t.Errorf("%s: %d objects of the run are left", what, n)
		}
		_, err = j.Undo(t.Context(), r.Run)
		if can := tt.stays && (tt.versioned || tt.keepFor > 0); (err == nil) != can {
			t.Errorf("%s: undo: %v", what, err)
		}
		if what != "versions that nobody has limited" {
			continue
		}
		for key, all := range m.versions { // a lifecycle rule
			m.versions[key] = slices.DeleteFunc(all, func(k kept) bool { return k.id == "null" && m.objects[key].data == nil })
		}
		for range 2 {
			if _, err := j.GCTrash(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestBucketsThatKeepVersions(t *testing.T) {
	for _, server := range s3test.All(t) {
		for _, cache := range []string{"v2-signed", "v3-unsigned"} {
			for _, keepFor := range []time.Duration{0, day} {
				t.Run(fmt.Sprintf("%s/%s/%s", server.Name, cache, keepFor), func(t *testing.T) {
					name := oldBucket(t, server, cache)
					server.EnableVersioning(t, name)
					proxy := faultproxy.New(t, server.Endpoint)
					store := bucket(t, server, proxy.URL, name, nil)
					before := contentsOf(t, store)
					p := planNow(t, store, locks(t, cache, "env-b"))
					j := janitor.Janitor{Store: store, KeepFor: keepFor, Settle: 50 * time.Millisecond}
					r, err := j.Apply(t.Context(), p)
					if err != nil || r.Kept == "" {
						t.Fatalf("got %+v, %v", r, err)
					}
					pruned(t, store, cache, "env-b")
					asked := proxy.Count(func(r faultproxy.Request) bool { return r.Method == "GET" && r.Query.Has("versioning") })
					if n := store.Requests().Of(s3.Copy); n != 0 || asked != 1 {
						t.Errorf("%d copies, versioning was asked %d times", n, asked)
					}
					if _, err := j.Undo(t.Context(), r.Run); err != nil {
						t.Fatal(err)
					}
					same(t, "undone", before, contentsOf(t, store))

					roots := locks(t, cache, "env-b")
					s, err := janitor.NewScan(t.Context(), store, janitor.ScanOptions{Locks: roots.Locks})
					if err != nil {
						t.Fatal(err)
					}
					later, err := janitor.NewPlan(s, roots, bold, time.Now().Add(2*day)) // what came back counts as new
					if err != nil {
						t.Fatal(err)
					}
					if r, err = j.Apply(t.Context(), later); err != nil || r.Run == "" {
						t.Fatalf("got %+v, %v", r, err)
					}
					after := contentsOf(t, store)
					j.Now = func() time.Time { return time.Now().Add(2 * day) }
					res, err := j.GCTrash(t.Context())
					if err != nil || (res.Objects > r.Objects) != (keepFor > 0) {
						t.Errorf("got %+v, %v of %+v", res, err, r)
					}
					if diff := cmp.Diff(after, contentsOf(t, store)); diff != "" {
						t.Errorf("the collection changed what is there (-before +after):\n%s", diff)
					}
					left := map[string]bool{}
					for v, err := range store.Versions(t.Context(), "") {
						if err != nil {
							t.Fatal(err)
						}
						left[v.Key] = left[v.Key] || !v.Deleted
					}
					for _, d := range list(p.Deletions()) {
						if left[d.Key] != (keepFor == 0) && d.Kind != janitor.Own {
							t.Errorf("%s: versions are left: %t", d.Key, left[d.Key])
						}
					}
					_, err = j.Undo(t.Context(), r.Run)
					if (err == nil) != (keepFor == 0) {
						t.Errorf("undo of what was collected: %v", err)
					}
				})
			}
		}
	}
}

func TestBucketsThatWillNotShowTheirVersions(t *testing.T) {
	server := s3test.MinIO(t)
	for _, question := range []string{"versioning", "versions"} {
		name := oldBucket(t, server, "v2-unsigned")
		server.EnableVersioning(t, name)
		proxy := faultproxy.New(t, server.Endpoint)
		proxy.Add(faultproxy.Rule{Match: func(r faultproxy.Request) bool { return r.Query.Has(question) }, Fault: faultproxy.Fail(403, "AccessDenied")})
		store := bucket(t, server, proxy.URL, name, nil)
		before := contentsOf(t, store)
		j, said := quick(store)
		j.Now, j.KeepFor = nil, day
		r, err := j.Apply(t.Context(), planNow(t, store, locks(t, "v2-unsigned", "env-a")))
		if err != nil {
			t.Fatal(err)
		}
		if got := said.String(); !strings.Contains(got, "copied to the trash") || !strings.Contains(got, "s3:") {
			t.Errorf("said %s", got)
		}
		if _, err := j.Undo(t.Context(), r.Run); err != nil {
			t.Fatal(err)
		}
		same(t, question, before, contentsOf(t, store))
	}
}

// The server deletes, and its reply is lost: the store asks again, and the
// server puts a second delete marker on the first.
func TestUndoByVersionsAfterLostReplies(t *testing.T) {
	for _, server := range s3test.All(t) {
		name := oldBucket(t, server, "v3-unsigned")
		server.EnableVersioning(t, name)
		proxy := faultproxy.New(t, server.Endpoint)
		store := bucket(t, server, proxy.URL, name, nil)
		before := contentsOf(t, store)
		p := planNow(t, store, locks(t, "v3-unsigned", "env-a"))
		proxy.Add(faultproxy.Rule{Match: faultproxy.IsBatchDelete, Skip: 1, Times: 1, Fault: faultproxy.LoseReply})
		j, _ := quick(store)
		j.Now = nil
		r, err := j.Apply(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		proxy.Add(faultproxy.Rule{Match: func(r faultproxy.Request) bool { return r.Header.Get("X-Amz-Copy-Source") != "" }, Skip: 3, Times: 1, Fault: faultproxy.LoseReply})
		if _, err := j.Undo(t.Context(), r.Run); err != nil {
			t.Fatal(err)
		}
		same(t, server.Name, before, contentsOf(t, store))
	}
}

func TestVersionsOfAStoreThatHeedsNoConditions(t *testing.T) {
	m := keeping(loaded(t, "v2-unsigned"))
	m.ignores = true
	before := m.contents()
	j, _ := quick(m)
	r, err := j.Apply(t.Context(), plan(t, m.memory, locks(t, "v2-unsigned", "env-a"), bold))
	if err != nil || r.Kept == "" || len(m.trashed()) > 0 {
		t.Fatalf("got %+v, %v", r, err)
	}
	if _, err := j.Undo(t.Context(), r.Run); err != nil {
		t.Fatal(err)
	}
	same(t, "undone", before, m.contents())
}
