package torture

import (
	"bytes"
	"context"
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

// An Actor is a program with a connection to the bucket. It implements buildcache.Store and
// buildcache.Writer, so that it can be given to the janitor; the other programs use the same
// methods.
type Actor struct {
	Name   string
	Seed   uint64
	Faults Faults
	Run    *Run                 // the janitor's, else nil
	Skew   func() time.Duration // of its clock against the truth; nil is none

	w         *World
	mirror    string // the bucket's address when it began
	kill      context.CancelCauseFunc
	intent    func() map[string]bool // hashes that the root set which it writes is to hold
	tested    time.Time              // a push: when it has looked what is there already
	announced bool                   // and whether it had left a root set before
	dead      bool
	until     time.Time       // it is stopped
	inFlight  bool            // the request that takes effect was under way when the program was stopped
	refused   map[string]bool // keys of a batch, and not deleted since
	handed    map[string]bool // a run has handed over these hashes, for this program to delete
	writes    int             // so far
	pages     int             // of listings, so far
	counts    map[string]int  // of requests, by kind and key
}

// Now is the time by the program's own clock.
func (a *Actor) Now() time.Time {
	if a.Skew == nil {
		return time.Now()
	}
	return time.Now().Add(a.Skew())
}

// String names the bucket, the same for all.
func (a *Actor) String() string { return a.mirror }

// request has its effect between two pauses, under the world's lock. write says that it can change
// something.
func (a *Actor) request(ctx context.Context, op, key string, write bool, effect func(f fate) error) error {
	a.w.mu.Lock()
	a.counts[op+key]++
	n := a.counts[op+key]
	a.w.mu.Unlock()
	jitter, latency := a.hash(op, key, n), a.Faults.Latency
	if latency == 0 {
		latency = 50 * time.Millisecond
	}
	if op == "list" {
		latency += a.Faults.SlowList
	}
	if err := a.pauseFor(ctx, latency, jitter); err != nil {
		return err
	}
	err := a.arrive(ctx, op, key, write, a.fate(op, key, n), effect)
	if e := ctx.Err(); err == nil && e != nil {
		err = e
	}
	return err
}

// arrive is the request at the server.
func (a *Actor) arrive(ctx context.Context, op, key string, write bool, f fate, effect func(f fate) error) (err error) {
	w := a.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if write {
		a.writes++
	}
	killed, stopped := write && a.writes == a.Faults.KillAt, write && a.writes == a.Faults.StopAt
	if stopped && !a.Faults.Behind {
		w.note(a, "stopped before", op, key)
		a.until = time.Now().Add(a.Faults.Stop)
	}
	if a.sleepOut(key) {
		a.inFlight = true
		defer func() { a.inFlight = false }()
		if ctx.Err() != nil { // its deadline has passed meanwhile: the request was not sent
			return ctx.Err()
		}
	}
	if killed && !a.Faults.Behind {
		w.note(a, "killed before", op, key)
		a.dead = true
		a.kill(errKilled)
	}
	if a.dead {
		return errKilled
	}
	switch f {
	case fails:
		w.note(a, "fault in", op, key)
		return []error{errInternal, errSlowDown, errDenied}[a.hash(op, key, -1)%3]
	case loses:
		w.note(a, "lost reply of", op, key)
		effect(f)
		err = errLost
	default:
		err = effect(f)
	}
	if killed && a.Faults.Behind {
		w.note(a, "killed behind", op, key)
		a.dead = true
		a.kill(errKilled)
		return errKilled
	}
	if stopped && a.Faults.Behind {
		w.note(a, "stopped behind", op, key)
		a.until = time.Now().Add(a.Faults.Stop)
		a.sleepOut(key)
	}
	return err
}

// sleepOut waits until the program is continued, if it is stopped, and reports whether it was.
func (a *Actor) sleepOut(key string) (was bool) {
	for time.Now().Before(a.until) {
		was = true
		a.w.mu.Unlock()
		time.Sleep(time.Until(a.until) + time.Duration(a.hash("stop", key, 0)%1e6))
		a.w.mu.Lock()
	}
	return was
}

// List implements buildcache.Store, a page at a time.
func (a *Actor) List(ctx context.Context, prefix string) iter.Seq2[buildcache.Object, error] {
	return func(yield func(buildcache.Object, error) bool) {
		after, begun := "", time.Now()
		for more := true; more; {
			var page []listed
			err := a.request(ctx, "list", prefix+"\x00"+after, false, func(fate) error {
				a.pages++
				b := a.w.bucket
				if a.pages == a.Faults.Lie && a.Faults.Stale {
					b = b.at(time.Now().Add(-lookAge))
					begun = begun.Add(-lookAge)
				}
				page, more = b.page(prefix, after, a.w.Page)
				if a.pages == a.Faults.Lie && !a.Faults.Stale {
					a.w.note(a, "short listing of", prefix)
					page, more = page[:len(page)/2], false
				}
				if !more {
					a.w.sawListing(a, prefix, begun)
				}
				return nil
			})
			if err != nil {
				yield(buildcache.Object{}, fmt.Errorf("list %q: %w", prefix, err))
				return
			}
			for _, l := range page {
				after = l.key
				if !yield(l.show(), nil) {
					return
				}
			}
			more = more && len(page) > 0
		}
	}
}

func (l listed) show() buildcache.Object {
	return buildcache.Object{Key: l.key, Size: int64(len(l.body)), ETag: l.etag, ModTime: l.mod}
}

// Get implements buildcache.Store.
func (a *Actor) Get(ctx context.Context, key string) (body io.ReadCloser, o buildcache.Object, err error) {
	err = a.request(ctx, "get", key, false, func(f fate) error {
		there := a.w.bucket.objects[key]
		if there == nil {
			return fmt.Errorf("get %q: %w", key, fs.ErrNotExist)
		}
		o = listed{key, there}.show()
		var r io.Reader = bytes.NewReader(there.body)
		if f == cuts {
			r = io.MultiReader(bytes.NewReader(there.body[:len(there.body)/2]), brokenReader{})
		}
		body = io.NopCloser(r)
		return nil
	})
	return body, o, err
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errCut }

// Stat returns what a listing would say of an object.
func (a *Actor) Stat(ctx context.Context, key string) (o buildcache.Object, err error) {
	err = a.request(ctx, "head", key, false, func(fate) error {
		there := a.w.bucket.objects[key]
		if there == nil {
			return fmt.Errorf("stat %q: %w", key, fs.ErrNotExist)
		}
		o = listed{key, there}.show()
		return nil
	})
	return o, err
}

// Put implements buildcache.Writer.
func (a *Actor) Put(ctx context.Context, key string, body io.ReaderAt, size int64, opts buildcache.PutOptions) (tag string, err error) {
	text, err := io.ReadAll(io.NewSectionReader(body, 0, size))
	if err != nil || int64(len(text)) != size {
		return "", fmt.Errorf("put %q: body of %d bytes: %w", key, size, errors.Join(err, errCut))
	}
	err = a.request(ctx, "put", key, true, func(f fate) error {
		if opts.Condition != (buildcache.Condition{}) && a.w.Conditions == "refused" {
			return fmt.Errorf("put %q: %w", key, errors.ErrUnsupported)
		}
		if !a.w.holds(key, opts.Condition) {
			return fmt.Errorf("put %q: %w", key, buildcache.ErrChanged)
		}
		o := &object{body: text}
		a.w.put(a, key, o)
		tag = o.etag
		if f == repeats { // the first reply was lost, the second request finds what the first has written
			a.w.note(a, "repeated put of", key)
			if !a.w.holds(key, opts.Condition) {
				return fmt.Errorf("put %q: %w", key, buildcache.ErrChanged)
			}
			a.w.put(a, key, &object{body: text})
		}
		return nil
	})
	return tag, err
}

// Delete implements buildcache.Writer, in batches of up to 1 000.
func (a *Actor) Delete(ctx context.Context, keys []string) error {
	var failed []buildcache.ObjectError
	for batch := range slices.Chunk(keys, a.w.Batch) {
		err := a.request(ctx, "delete", batch[0], true, func(f fate) error {
			for _, key := range batch {
				if f == partly && a.hash("partly", key, 0)%4 == 0 {
					failed = append(failed, buildcache.ObjectError{Key: key, Err: errDenied})
					a.w.note(a, "refused delete of", key)
					a.refused[key] = !strings.HasPrefix(key, ownPrefix)
					continue
				}
				delete(a.refused, key)
				a.w.remove(a, key)
			}
			return nil
		})
		if err != nil {
			for _, key := range batch {
				failed = append(failed, buildcache.ObjectError{Key: key, Err: err})
			}
		}
	}
	if len(failed) > 0 {
		return &buildcache.DeleteError{Failed: failed}
	}
	return nil
}

// Copy implements buildcache.Writer.
func (a *Actor) Copy(ctx context.Context, from, to string) error {
	return a.request(ctx, "put", to, true, func(fate) error {
		o := a.w.bucket.objects[from]
		if o == nil {
			return fmt.Errorf("copy %q: %w", from, fs.ErrNotExist)
		}
		a.w.put(a, to, &object{body: o.body})
		return nil
	})
}

// write stores bytes, for the programs beside the janitor: they send no conditions, and try again a
// few times.
func (a *Actor) write(ctx context.Context, key string, body []byte) (err error) {
	for range 4 {
		if _, err = a.Put(ctx, key, bytes.NewReader(body), int64(len(body)), buildcache.PutOptions{}); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// read returns an object's bytes, nil where there is none.
func (a *Actor) read(ctx context.Context, key string) ([]byte, error) {
	var last error
	for range 4 {
		r, _, err := a.Get(ctx, key)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err == nil {
			var body []byte
			if body, err = io.ReadAll(r); err == nil {
				return body, nil
			}
		}
		if last = err; ctx.Err() != nil {
			break
		}
	}
	return nil, last
}

// list returns the keys with a prefix and a suffix.
func (a *Actor) list(ctx context.Context, prefix, suffix string) (keys []string, err error) {
	for o, err := range a.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(o.Key, suffix) {
			keys = append(keys, o.Key)
		}
	}
	return keys, nil
}
