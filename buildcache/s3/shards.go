package s3

import (
	"context"
	"iter"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// inFlight is how many listings, parts or batches of one call are under way at
// a time.
const inFlight = 8

// ListShards yields the same objects as List, in no order, listing several
// parts of the prefix at a time. guess sees the first page and returns prefixes
// that divide the rest evenly, such as blobs/sha256/0 to f; none may begin with
// another. They need not cover everything: what lies outside of them is found
// on the way to them and listed as well, at the cost of a request for each
// level of folders above them. What fits on one page is one request, and so is
// each page without shards. Strings share memory as those of List do.
func (s *Store) ListShards(ctx context.Context, prefix string, guess func(first []buildcache.Object) (shards []string)) iter.Seq2[buildcache.Object, error] {
	return func(yield func(buildcache.Object, error) bool) {
		first, err := s.page(ctx, prefix, "", "")
		if err != nil {
			yield(buildcache.Object{}, err)
			return
		}
		var shards []string
		if first.token != "" {
			shards = guess(first.objects)
		}
		// The shards' listings include the first page again. To go on behind it
		// takes trust that the server lists in byte order, and start-after, with
		// which MinIO misses what is in a folder next to one such as folder-x.
		all := s.listShards(ctx, prefix, shards)
		if len(shards) == 0 {
			all = s.rest(ctx, prefix, first)
		}
		for o, err := range all {
			if !yield(o, err) || err != nil {
				return
			}
		}
	}
}

// ListOutside yields the objects of a prefix, in no order, without those of some parts of it: for
// them, nothing is asked but that they are there.
func (s *Store) ListOutside(ctx context.Context, prefix string, parts []string) iter.Seq2[buildcache.Object, error] {
	return s.walkShards(ctx, prefix, parts, false)
}

// rest yields what is on a page, and on those behind it.
func (s *Store) rest(ctx context.Context, prefix string, first *page) iter.Seq2[buildcache.Object, error] {
	return func(yield func(buildcache.Object, error) bool) {
		for p, err := range s.pagesFrom(ctx, prefix, "", first) {
			if err != nil {
				yield(buildcache.Object{}, err)
				return
			}
			for _, o := range p.objects {
				if !yield(o, nil) {
					return
				}
			}
		}
	}
}

func (s *Store) listShards(ctx context.Context, prefix string, shards []string) iter.Seq2[buildcache.Object, error] {
	return s.walkShards(ctx, prefix, shards, true)
}

// walkShards lists what is outside of shards, and these too if they are wanted.
func (s *Store) walkShards(ctx context.Context, prefix string, shards []string, wanted bool) iter.Seq2[buildcache.Object, error] {
	return func(yield func(buildcache.Object, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		l := &lister{store: s, shards: shards, slots: make(chan struct{}, inFlight), pages: make(chan []buildcache.Object)}
		l.group, l.ctx = errgroup.WithContext(ctx)
		done := make(chan error)
		l.group.Go(func() error { return l.level(prefix) })
		for _, shard := range shards {
			if !wanted {
				break
			}
			l.group.Go(func() error { return l.flat(shard) })
		}
		go func() {
			err := l.group.Wait()
			close(l.pages)
			done <- err
		}()
		stopped := !l.hand(yield)
		cancel()
		for range l.pages { // what was under way when the caller had enough
		}
		if err := <-done; err != nil && !stopped {
			yield(buildcache.Object{}, err)
		}
	}
}

// A lister lists prefixes concurrently. Its level walks find what is outside
// of the shards.
type lister struct {
	store  *Store
	shards []string
	group  *errgroup.Group
	ctx    context.Context // of one call
	slots  chan struct{}   // one for each listing under way
	pages  chan []buildcache.Object
}

func (l *lister) hand(yield func(buildcache.Object, error) bool) bool {
	for objects := range l.pages {
		for _, o := range objects {
			if !yield(o, nil) {
				return false
			}
		}
	}
	return true
}

// flat lists all that begins with prefix.
func (l *lister) flat(prefix string) error {
	return l.each(prefix, "", func(p *page) error { return l.send(p.objects) })
}

// level lists one folder, and goes into those below it that hold shards.
func (l *lister) level(folder string) error {
	return l.each(folder, "/", func(p *page) error {
		for _, sub := range p.prefixes {
			switch {
			case l.inShard(sub):
			case slices.ContainsFunc(l.shards, func(shard string) bool { return strings.HasPrefix(shard, sub) }):
				l.group.Go(func() error { return l.level(sub) })
			default:
				l.group.Go(func() error { return l.flat(sub) })
			}
		}
		return l.send(slices.DeleteFunc(p.objects, func(o buildcache.Object) bool { return l.inShard(o.Key) }))
	})
}

func (l *lister) inShard(key string) bool {
	return slices.ContainsFunc(l.shards, func(shard string) bool { return strings.HasPrefix(key, shard) })
}

// each runs f on the pages of a listing when a slot is free. What it needs to
// come to its end, it needs of the caller only: no two listings wait for each
// other.
func (l *lister) each(prefix, delimiter string, f func(*page) error) error {
	select {
	case l.slots <- struct{}{}:
	case <-l.ctx.Done():
		return l.ctx.Err()
	}
	defer func() { <-l.slots }()
	for p, err := range l.store.pages(l.ctx, prefix, delimiter) {
		if err != nil {
			return err
		}
		if err := f(p); err != nil {
			return err
		}
	}
	return nil
}

func (l *lister) send(objects []buildcache.Object) error {
	select {
	case l.pages <- objects:
		return nil
	case <-l.ctx.Done():
		return l.ctx.Err()
	}
}
