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
	"os"
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
		ours, err := j.open(ctx, o, p.Going())
		if ours || err != nil {
			return j, err
		}
	}
}

// open returns false if somebody else has begun a journal there.
func (j *journal) open(ctx context.Context, o opening, specs iter.Seq[Going]) (bool, error) {
	file, size, err := spool(func(w io.Writer) error { return writeObject(w, o, inLines("specs", specs)) })
	if err != nil {
		return false, err
	}
	defer file.Close()
	key := openingKey(j.run)
	err = putFile(ctx, j.store, key, file, size, buildcache.Condition{IfNoneMatch: true})
	if !errors.Is(err, buildcache.ErrChanged) {
		return true, err
	}
	// The reply to our own write can be lost, and its repetition is then refused.
	want, err := io.ReadAll(io.NewSectionReader(file, 0, size))
	if err != nil {
		return false, err
	}
	got, _, err := get(ctx, j.store, key)
	return bytes.Equal(got, want), err
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
	file, size, err := spool(func(w io.Writer) error {
		return writeObject(w, Step{At: j.now(), What: what}, inLines("keys", keys))
	})
	if err != nil {
		return err
	}
	defer file.Close()
	return putFile(ctx, j.store, j.last(), file, size, buildcache.Condition{})
}

// spool writes what need not fit into memory. The caller closes the file.
func spool(write func(io.Writer) error) (file *os.File, size int64, err error) {
	if file, err = scratch(); err != nil {
		return nil, 0, err
	}
	if err = write(file); err == nil {
		size, err = file.Seek(0, io.SeekCurrent)
	}
	if err != nil {
		file.Close()
	}
	return file, size, err
}

func putFile(ctx context.Context, store Store, key string, file *os.File, size int64, cond buildcache.Condition) error {
	_, err := store.Put(ctx, key, file, size, buildcache.PutOptions{ContentType: "application/json", Condition: cond})
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
