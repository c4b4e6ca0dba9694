package janitor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Where a run leaves what it did, and what it took away.
func runPrefix(run string) string   { return Prefix + "runs/" + run + "/" }
func openingKey(run string) string  { return runPrefix(run) + "plan.json" }
func trashPrefix(run string) string { return Prefix + "trash/" + run + "/" }

// A journal is what a run writes down before and after each step.
type journal struct {
	store Store
	run   string
	n     int
	now   func() time.Time
}

// An opening is the journal's first object: what the run is about to do.
type opening struct {
	Owner     string    `json:"owner"`
	Began     time.Time `json:"began"`
	KeepUntil time.Time `json:"keep_until,omitzero"` // of the trash
	Plan      Head      `json:"plan"`
	Specs     []Going   `json:"specs,omitempty"` // that go
}

// A Step is an entry of the journal.
type Step struct {
	At     time.Time         `json:"at"`
	What   string            `json:"what"`
	Keys   []string          `json:"keys,omitempty"`
	Failed map[string]string `json:"failed,omitempty"` // by key
	Index  *Replacement      `json:"index,omitempty"`

	Versions map[string]Version `json:"versions,omitempty"` // that are about to go, by key
	Markers  map[string]string  `json:"markers,omitempty"`  // IDs of our delete markers, by key
}

// A Version is what a journal says of one: the ID "null" can be that of
// another one later.
type Version struct {
	ID   string `json:"id"`
	ETag string `json:"etag"`
	Size int64  `json:"size"`
}

func (v Version) is(o buildcache.Version) bool {
	return o.ID == v.ID && o.ETag == v.ETag && o.Size == v.Size && !o.Deleted
}

// A Replacement is what happened to an index. With what was kept of it, it can
// be taken back.
type Replacement struct {
	Key    string `json:"key"`    // index.json, or the index manifest
	Before string `json:"before"` // checksum of the index
	After  string `json:"after"`
}

// begin opens the journal of a run; one that was begun before gets a number.
func begin(ctx context.Context, store Store, p Plan, owner string, keepFor time.Duration, now func() time.Time) (*journal, error) {
	o := opening{Owner: owner, Began: now(), Plan: p.Head}
	if keepFor > 0 {
		o.KeepUntil = now().Add(keepFor)
	}
	for n := 1; ; n++ {
		j := &journal{store: store, run: p.Run, now: now}
		if n > 1 {
			j.run = fmt.Sprintf("%s-%d", p.Run, n)
		}
		o.Plan.Run = j.run
		if begun, err := j.open(ctx, o, p.Going()); begun || err != nil {
			return j, err
		}
	}
}

// open returns false if there is such a journal. Who begins one holds the lease.
func (j *journal) open(ctx context.Context, o opening, specs iter.Seq[Going]) (bool, error) {
	key := openingKey(j.run)
	if there, err := exists(ctx, j.store, key); there || err != nil {
		return false, err
	}
	return true, j.put(ctx, key, func(w io.Writer) error { return writeObject(w, o, inLines("specs", specs)) })
}

// write adds a step.
func (j *journal) write(ctx context.Context, s Step) error {
	j.n++
	s.At = j.now()
	_, err := putJSON(ctx, j.store, j.last(), s, buildcache.Condition{})
	return err
}

// writeKeys adds a step with many keys.
func (j *journal) writeKeys(ctx context.Context, what string, keys iter.Seq[string]) error {
	j.n++
	return j.put(ctx, j.last(), func(w io.Writer) error {
		return writeObject(w, Step{At: j.now(), What: what}, inLines("keys", keys))
	})
}

// put writes what need not fit into memory.
func (j *journal) put(ctx context.Context, key string, write func(io.Writer) error) error {
	file, err := scratch()
	if err != nil {
		return err
	}
	defer file.Close()
	if err := write(file); err != nil {
		return err
	}
	size, err := file.Seek(0, io.SeekCurrent)
	if err == nil {
		_, err = j.store.Put(ctx, key, file, size, buildcache.PutOptions{ContentType: "application/json"})
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	return nil
}

// last is the key of the step that was written last.
func (j *journal) last() string { return fmt.Sprintf("%sstep-%04d.json", runPrefix(j.run), j.n) }

func putJSON(ctx context.Context, store Store, key string, v any, cond buildcache.Condition) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	etag, err := store.Put(ctx, key, bytes.NewReader(data), int64(len(data)), buildcache.PutOptions{ContentType: "application/json", Condition: cond})
	if err != nil {
		return "", fmt.Errorf("write %s: %w", key, err)
	}
	return etag, nil
}

// readRun reads a journal back.
func readRun(ctx context.Context, store buildcache.Store, run string) (opening, []Step, error) {
	var o opening
	key := openingKey(run)
	data, _, err := get(ctx, store, key)
	if errors.Is(err, fs.ErrNotExist) {
		return o, nil, fmt.Errorf("run %q: %w: there are %s", run, ErrNothingFor, strings.Join(runs(ctx, store), ", "))
	}
	if err != nil {
		return o, nil, err
	}
	if err := json.Unmarshal(data, &o); err != nil {
		return o, nil, &buildcache.ObjectError{Key: key, Err: err}
	}
	var keys []string
	for obj, err := range store.List(ctx, runPrefix(run)+"step-") {
		if err != nil {
			return o, nil, err
		}
		keys = append(keys, obj.Key)
	}
	slices.Sort(keys)
	var steps []Step
	for _, key := range keys {
		data, _, err := get(ctx, store, key)
		if err != nil {
			return o, nil, err
		}
		var s Step
		if err := json.Unmarshal(data, &s); err != nil {
			return o, nil, &buildcache.ObjectError{Key: key, Err: err}
		}
		steps = append(steps, s)
	}
	return o, steps, nil
}

// runs lists the runs that a mirror has a journal of.
func runs(ctx context.Context, store buildcache.Store) []string {
	var found []string
	for o, err := range store.List(ctx, Prefix+"runs/") {
		if err != nil {
			return append(found, err.Error())
		}
		if run, ok := strings.CutSuffix(strings.TrimPrefix(o.Key, Prefix+"runs/"), "/plan.json"); ok {
			found = append(found, run)
		}
	}
	if len(found) == 0 {
		return []string{"none"}
	}
	return found
}
