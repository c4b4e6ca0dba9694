package s3

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// maxIdlePages is how many pages without a key may follow each other. Servers that hide what is
// deleted have some.
const maxIdlePages = 1000

// List yields the objects whose keys begin with prefix, page by page, in the
// server's order. The keys and ETags of a page share memory: who keeps few of
// them for long should clone those.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[buildcache.Object, error] {
	return func(yield func(buildcache.Object, error) bool) {
		for p, err := range s.pages(ctx, prefix, "") {
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

// pages yields the pages of a listing, with keys relative to the store. With
// a delimiter, keys that have it after the prefix are cut off behind it.
func (s *Store) pages(ctx context.Context, prefix, delimiter string) iter.Seq2[*page, error] {
	return s.pagesFrom(ctx, prefix, delimiter, nil)
}

// pagesFrom begins with a page that is there already.
func (s *Store) pagesFrom(ctx context.Context, prefix, delimiter string, p *page) iter.Seq2[*page, error] {
	return func(yield func(*page, error) bool) {
		seen := map[string]bool{}
		idle := 0 // pages in a row without a key
		for token := ""; ; {
			var err error
			if p == nil {
				p, err = s.page(ctx, prefix, delimiter, token)
			}
			if err == nil && seen[p.token] {
				err = errors.New("the listing goes round in circles: the server names the same page as the next one again")
				err = s.explain(opList, prefix, err)
			}
			if idle++; err == nil && len(p.objects)+len(p.prefixes) > 0 {
				idle = 0
			}
			if err == nil && idle > maxIdlePages {
				err = s.explain(opList, prefix, fmt.Errorf("the listing does not come to an end: %d pages in a row hold nothing", idle))
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if token = p.token; token != "" {
				seen[token] = true
			}
			if !yield(p, nil) || token == "" {
				return
			}
			p = nil
		}
	}
}

func (s *Store) page(ctx context.Context, prefix, delimiter, token string) (*page, error) {
	in := &awss3.ListObjectsV2Input{
		Bucket:       &s.bucket,
		Prefix:       ref(s.prefix + prefix),
		EncodingType: types.EncodingTypeUrl, // XML cannot hold every key
	}
	if delimiter != "" {
		in.Delimiter = &delimiter
	}
	if token != "" {
		in.ContinuationToken = &token
	}
	var p *page
	_, err := s.client.ListObjectsV2(ctx, in, decodeWith(new(awss3.ListObjectsV2Output), func(r *reply) (err error) {
		if p, err = decodePage(r); err != nil {
			return err
		}
		return p.relate(s.prefix, prefix)
	}))
	if err != nil {
		return nil, s.explain(opList, prefix, err)
	}
	s.answered.Store(true)
	return p, nil
}

// relate makes keys relative to root. A key that was not asked for is an
// error: then others may be missing.
func (p *page) relate(root, prefix string) error {
	for i := range p.objects {
		key, ok := strings.CutPrefix(p.objects[i].Key, root)
		if !ok || !strings.HasPrefix(key, prefix) {
			return cutf("the listing holds %q, which was not asked for", p.objects[i].Key)
		}
		p.objects[i].Key = key
	}
	// An empty object can stand for the folder that is the mirror itself.
	p.objects = slices.DeleteFunc(p.objects, func(o buildcache.Object) bool { return o.Key == "" })
	for i := range p.prefixes {
		key, ok := strings.CutPrefix(p.prefixes[i], root)
		if !ok || !strings.HasPrefix(key, prefix) {
			return cutf("the listing holds %q, which was not asked for", p.prefixes[i])
		}
		p.prefixes[i] = key
	}
	return nil
}

func ref[T any](v T) *T { return &v }
