package s3

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// batchSize is how many keys one request may delete.
const batchSize = 1000

// Delete removes objects in batches, some at a time. Keys that the server
// could not delete for a moment are tried again. A batch refused as a whole
// ends it: the others would be as well.
func (s *Store) Delete(ctx context.Context, keys []string) error {
	if slices.Contains(keys, "") {
		return &buildcache.DeleteError{Failed: fail(keys, fmt.Errorf("%s: delete: one of the keys is empty", s))}
	}
	plain, odd := divide(keys)
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(inFlight / 2)
	var batches [][]string
	batches = slices.AppendSeq(batches, slices.Chunk(plain, batchSize))
	batches = slices.AppendSeq(batches, slices.Chunk(odd, 1))
	failed := make([][]buildcache.ObjectError, len(batches))
	for i, batch := range batches {
		group.Go(func() (err error) {
			if len(plain) > i*batchSize {
				failed[i], err = s.deleteBatch(groupCtx, batch)
			} else {
				failed[i], err = s.deleteOne(groupCtx, batch[0])
			}
			return err
		})
	}
	err := group.Wait()
	all := slices.Concat(failed...)
	if len(all) == 0 {
		return nil
	}
	for i := range all {
		if errors.Is(all[i].Err, context.Canceled) && ctx.Err() == nil {
			all[i].Err = err // of the batch that ended it
		}
	}
	return &buildcache.DeleteError{Failed: all}
}

// divide tells keys that XML can hold from those that it cannot. In a batch
// such a key would be taken for another one.
func divide(keys []string) (plain, odd []string) {
	for _, key := range keys {
		if strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r == '\uFFFD' || r == '\uFFFE' || r == '\uFFFF' }) {
			odd = append(odd, key)
		} else {
			plain = append(plain, key)
		}
	}
	return plain, odd
}

// deleteBatch returns what is left of the keys. An error means that other
// batches need not be tried.
func (s *Store) deleteBatch(ctx context.Context, keys []string) (failed []buildcache.ObjectError, err error) {
	for attempt := 1; ; attempt++ {
		again, refused, err := s.tryDelete(ctx, keys)
		failed = append(failed, refused...)
		if err != nil {
			err = s.explain(opDelete, fmt.Sprintf("%d objects", len(keys)), err)
			return append(failed, fail(keys, err)...), err
		}
		if len(again) == 0 {
			return failed, nil
		}
		if attempt == s.attempts {
			return append(failed, again...), nil
		}
		keys = nil
		for i := range again {
			keys = append(keys, again[i].Key)
		}
		if err := s.backoff.wait(ctx, attempt-1); err != nil {
			return append(failed, again...), err
		}
	}
}

// tryDelete returns the keys that another attempt may delete and those that
// it will not.
func (s *Store) tryDelete(ctx context.Context, keys []string) (again, refused []buildcache.ObjectError, err error) {
	var reply *xmlDeleted
	options := []func(*awss3.Options){decodeWith(new(awss3.DeleteObjectsOutput), func(body []byte) (err error) {
		reply, err = parseDeleted(body)
		return err
	})}
	if s.md5 {
		options = append(options, awss3.WithAPIOptions(smithyhttp.AddContentChecksumMiddleware))
	}
	ids := make([]types.ObjectIdentifier, len(keys))
	for i, key := range keys {
		ids[i].Key = ref(s.prefix + key)
	}
	in := &awss3.DeleteObjectsInput{Bucket: &s.bucket, Delete: &types.Delete{Objects: ids, Quiet: ref(true)}}
	if _, err := s.client.DeleteObjects(ctx, in, options...); err != nil {
		return nil, nil, err
	}
	for _, e := range reply.Errors {
		key, ok := strings.CutPrefix(e.Key, s.prefix)
		if !ok || !slices.Contains(keys, key) {
			return nil, nil, fmt.Errorf("the server reports %s for %q, which was not to be deleted", e.Code, e.Key)
		}
		err := s.keyError(key, e.Code, e.Message)
		switch e.Code {
		case "NoSuchKey":
		case "InternalError", "SlowDown", "ServiceUnavailable", "RequestTimeout", "OperationAborted":
			again = append(again, err)
		default:
			refused = append(refused, err)
		}
	}
	return again, refused, nil
}

func (s *Store) keyError(key, code, message string) buildcache.ObjectError {
	e := &Error{Store: s.String(), Op: opDelete.verb, Key: key, Code: code, reason: "the server answers " + strings.TrimSuffix(message, ".")}
	if code == "AccessDenied" {
		e.reason = s.reason(opDelete, e, errors.New(message))
	}
	return buildcache.ObjectError{Key: key, Err: e}
}

func (s *Store) deleteOne(ctx context.Context, key string) ([]buildcache.ObjectError, error) {
	_, err := s.client.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: &s.bucket, Key: ref(s.prefix + key)})
	if err == nil {
		return nil, nil
	}
	err = s.explain(opDelete, key, err)
	return fail([]string{key}, err), err
}

func fail(keys []string, err error) []buildcache.ObjectError {
	failed := make([]buildcache.ObjectError, len(keys))
	for i, key := range keys {
		failed[i] = buildcache.ObjectError{Key: key, Err: err}
	}
	return failed
}
