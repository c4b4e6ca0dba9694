package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// batchSize is how many keys one request may delete.
const batchSize = 1000

// A target is what a request deletes: an object, or one version of it for good.
type target struct{ key, version string }

// Delete removes objects in batches, some at a time. Keys that the server
// could not delete for a moment are tried again. A batch refused as a whole
// ends it: the others would be as well.
func (s *Store) Delete(ctx context.Context, keys []string) error {
	targets := make([]target, len(keys))
	for i, key := range keys {
		targets[i].key = key
	}
	return s.deleteAll(ctx, targets)
}

func (s *Store) deleteAll(ctx context.Context, targets []target) error {
	if slices.ContainsFunc(targets, func(t target) bool { return t.key == "" }) {
		return &buildcache.DeleteError{Failed: fail(targets, fmt.Errorf("%s: delete: one of the keys is empty", s))}
	}
	plain, odd := divide(targets)
	if s.noBatches.Load() {
		plain, odd = nil, targets
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(inFlight / 2)
	var batches [][]target
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
			if s.noBatches.Load() && isKeyError(err) {
				return nil
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
func divide(targets []target) (plain, odd []target) {
	if !slices.ContainsFunc(targets, target.odd) { // as nearly always
		return targets, nil
	}
	for _, t := range targets {
		if t.odd() {
			odd = append(odd, t)
		} else {
			plain = append(plain, t)
		}
	}
	return plain, odd
}

func (t target) odd() bool {
	return strings.ContainsFunc(t.key, func(r rune) bool { return r < ' ' || r == '\uFFFD' || r == '\uFFFE' || r == '\uFFFF' })
}

// deleteBatch returns what is left of the targets. An error means that other
// batches need not be tried.
func (s *Store) deleteBatch(ctx context.Context, targets []target) (failed []buildcache.ObjectError, err error) {
	for attempt := 1; ; attempt++ {
		again, refused, err := s.tryDelete(ctx, targets)
		failed = append(failed, refused...)
		if err != nil {
			if rest, ok, err := s.deleteOtherwise(ctx, targets, err); ok {
				return append(failed, rest...), err
			}
			err = s.explain(deleting(targets), fmt.Sprintf("%d objects", len(targets)), err)
			return append(failed, fail(targets, err)...), err
		}
		if len(again) == 0 {
			return failed, nil
		}
		if attempt == s.attempts {
			return append(failed, again...), nil
		}
		targets = slices.DeleteFunc(slices.Clone(targets), func(t target) bool {
			return !slices.ContainsFunc(again, func(e buildcache.ObjectError) bool { return e.Key == t.key })
		})
		if err := s.backoff.wait(ctx, attempt-1); err != nil {
			return append(failed, again...), err
		}
	}
}

// deleteOtherwise deletes what a server has refused to delete in this way, if it may take another:
// in smaller batches, or one object at a time.
func (s *Store) deleteOtherwise(ctx context.Context, targets []target, refusal error) (failed []buildcache.ObjectError, ok bool, err error) {
	var api smithy.APIError
	if !errors.As(refusal, &api) {
		return nil, false, nil
	}
	switch code := api.ErrorCode(); {
	case code == "MalformedXML" && len(targets) > 1:
		half := len(targets) / 2
		if failed, err = s.deleteBatch(ctx, targets[:half]); err != nil {
			return append(failed, fail(targets[half:], err)...), true, err
		}
		var rest []buildcache.ObjectError
		rest, err = s.deleteBatch(ctx, targets[half:])
		failed = append(failed, rest...)
	case code == "NotImplemented" || code == "MethodNotAllowed" || status(refusal) == http.StatusMethodNotAllowed:
		s.noBatches.Store(true)
		for i, t := range targets {
			one, err := s.deleteOne(ctx, t)
			if failed = append(failed, one...); err != nil && !isKeyError(err) {
				return append(failed, fail(targets[i+1:], err)...), true, err
			}
		}
	default:
		return nil, false, nil
	}
	return failed, true, err
}

// isKeyError reports whether a refusal is about one object, so that others may well be deleted.
func isKeyError(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Code == "InvalidObjectState" || e.Code == "AccessDenied")
}

// tryDelete returns the keys that another attempt may delete and those that
// it will not.
func (s *Store) tryDelete(ctx context.Context, targets []target) (again, refused []buildcache.ObjectError, err error) {
	var deleted *xmlDeleted
	decode := decodeWith(new(awss3.DeleteObjectsOutput), func(r *reply) (err error) {
		deleted, err = parseDeleted(r.body.Bytes())
		return err
	})
	in := &awss3.DeleteObjectsInput{Bucket: &s.bucket, Delete: &types.Delete{Objects: s.identify(targets), Quiet: ref(true)}}
	err = s.sendMD5(func(options ...func(*awss3.Options)) error {
		_, err := s.client.DeleteObjects(ctx, in, append(options, decode)...)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	asked := map[string]bool{}
	if len(deleted.Errors) > 0 {
		for _, t := range targets {
			asked[t.key] = true
		}
	}
	for _, e := range deleted.Errors {
		key, ok := strings.CutPrefix(e.Key, s.prefix)
		if !ok || !asked[key] {
			return nil, nil, fmt.Errorf("the server reports %s for %q, which was not to be deleted", e.Code, e.Key)
		}
		err := s.keyError(deleting(targets), key, e.Code, e.Message)
		switch e.Code {
		case "NoSuchKey", "NoSuchVersion":
		case "InternalError", "SlowDown", "ServiceUnavailable", "RequestTimeout", "OperationAborted":
			again = append(again, err)
		default:
			refused = append(refused, err)
		}
	}
	return again, refused, nil
}

// identify says what to delete, with all whole keys in one piece of memory.
func (s *Store) identify(targets []target) []types.ObjectIdentifier {
	size := 0
	for _, t := range targets {
		size += len(s.prefix) + len(t.key)
	}
	var all strings.Builder
	all.Grow(size)
	keys := make([]string, len(targets))
	ids := make([]types.ObjectIdentifier, len(targets))
	for i := range targets {
		from := all.Len()
		all.WriteString(s.prefix)
		all.WriteString(targets[i].key)
		keys[i] = all.String()[from:]
		if ids[i].Key = &keys[i]; targets[i].version != "" {
			ids[i].VersionId = &targets[i].version
		}
	}
	return ids
}

// deleting is what a request for these targets needs permission for.
func deleting(targets []target) operation {
	if len(targets) > 0 && targets[0].version != "" {
		return opDeleteVersion
	}
	return opDelete
}

func (s *Store) keyError(op operation, key, code, message string) buildcache.ObjectError {
	e := &Error{Store: s.String(), Op: op.verb, Key: key, Code: code, reason: "the server answers " + plain(message)}
	if code == "AccessDenied" {
		e.reason = s.denied(op, message)
	}
	return buildcache.ObjectError{Key: key, Err: e}
}

func (s *Store) deleteOne(ctx context.Context, t target) ([]buildcache.ObjectError, error) {
	targets := []target{t}
	_, err := s.client.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: &s.bucket, Key: ref(s.prefix + t.key), VersionId: optional(t.version)})
	var api smithy.APIError
	if errors.As(err, &api) && (api.ErrorCode() == "NoSuchKey" || api.ErrorCode() == "NoSuchVersion") {
		return nil, nil // such as Google says of what is gone, which a deletion that is sent again finds
	}
	if err != nil {
		err = s.explain(deleting(targets), t.key, err)
		return fail(targets, err), err
	}
	return nil, nil
}

func fail(targets []target, err error) []buildcache.ObjectError {
	failed := make([]buildcache.ObjectError, len(targets))
	for i, t := range targets {
		failed[i] = buildcache.ObjectError{Key: t.key, Err: err}
	}
	return failed
}
