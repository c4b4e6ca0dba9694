package s3

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"iter"
	"strings"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Versioning reports whether the bucket keeps what is overwritten or deleted.
func (s *Store) Versioning(ctx context.Context) (bool, error) {
	status, err := s.versioning(ctx)
	return status == types.BucketVersioningStatusEnabled, err
}

// KeptVersions reports whether the bucket keeps what is overwritten or deleted, or did so before: what
// it kept then is there still.
func (s *Store) KeptVersions(ctx context.Context) (bool, error) {
	status, err := s.versioning(ctx)
	return status != "", err
}

func (s *Store) versioning(ctx context.Context) (types.BucketVersioningStatus, error) {
	out, err := s.client.GetBucketVersioning(ctx, &awss3.GetBucketVersioningInput{Bucket: &s.bucket})
	if err != nil {
		return "", s.explain(opVersioning, "", err)
	}
	return out.Status, nil
}

// Versions yields all that the bucket keeps of the objects whose keys begin
// with prefix, delete markers too, the newest of each key first.
func (s *Store) Versions(ctx context.Context, prefix string) iter.Seq2[buildcache.Version, error] {
	return func(yield func(buildcache.Version, error) bool) {
		seen := map[[2]string]bool{}
		idle := 0                   // pages in a row without a version
		var last buildcache.Version // which some servers repeat on the next page
		for next := [2]string{}; ; {
			p, err := s.versionsPage(ctx, prefix, next)
			if err == nil && seen[p.next] {
				err = errors.New("the listing goes round in circles: the server names the same page as the next one again")
				err = s.explain(opVersions, prefix, err)
			}
			if idle++; err == nil && len(p.versions) > 0 {
				idle = 0
			}
			if err == nil && idle > maxIdlePages {
				err = s.explain(opVersions, prefix, fmt.Errorf("the listing does not come to an end: %d pages in a row hold nothing", idle))
			}
			if err != nil {
				yield(buildcache.Version{}, err)
				return
			}
			for _, v := range p.versions {
				if v.Key == last.Key && v.ID == last.ID {
					continue
				}
				if last = v; !yield(v, nil) {
					return
				}
			}
			if next = p.next; next[0] == "" {
				return
			}
			seen[next] = true
		}
	}
}

func (s *Store) versionsPage(ctx context.Context, prefix string, from [2]string) (*versionsPage, error) {
	in := &awss3.ListObjectVersionsInput{
		Bucket: &s.bucket, Prefix: ref(s.prefix + prefix), EncodingType: types.EncodingTypeUrl,
		KeyMarker: optional(from[0]), VersionIdMarker: optional(from[1]),
	}
	var p *versionsPage
	_, err := s.client.ListObjectVersions(ctx, in, decodeWith(new(awss3.ListObjectVersionsOutput), func(r *reply) (err error) {
		if p, err = decodeVersions(r); err != nil {
			return err
		}
		return p.relate(s.prefix, prefix)
	}))
	if err != nil {
		return nil, s.explain(opVersions, prefix, err)
	}
	s.answered.Store(true)
	return p, nil
}

// A versionsPage is one reply to ListObjectVersions.
type versionsPage struct {
	versions []buildcache.Version
	next     [2]string // key and version; "" at the end
}

// xmlVersions is that reply for encoding/xml, which would tear versions and
// markers apart if they were asked for by name.
type xmlVersions struct {
	XMLName     xml.Name `xml:"ListVersionsResult"`
	IsTruncated string
	Key         string `xml:"NextKeyMarker"`
	ID          string `xml:"NextVersionIdMarker"`
	Encoding    string `xml:"EncodingType"`
	Versions    []struct {
		XMLName                       xml.Name
		Key, LastModified, ETag, Size []byte
		IsLatest                      string
		ID                            string `xml:"VersionId"`
	} `xml:",any"`
}

func decodeVersions(r *reply) (*versionsPage, error) {
	body := r.body.Bytes()
	var x xmlVersions
	if err := xml.Unmarshal(body, &x); err != nil {
		return nil, &cutError{what: fmt.Sprintf("a page of the versions cannot be read after %d bytes", len(body)), err: err}
	}
	if x.IsTruncated != "true" && x.IsTruncated != "false" || (x.IsTruncated == "true") != (x.Key != "") {
		return nil, cutf("a page of the versions says IsTruncated %q and NextKeyMarker %q", x.IsTruncated, x.Key)
	}
	p := &versionsPage{next: [2]string{"", x.ID}}
	var err error
	if p.next[0], err = (&texts{encoding: x.Encoding}).unescape([]byte(x.Key)); err != nil { // apart: it is kept for long
		return nil, err
	}
	raw := rawPage{encoding: []byte(x.Encoding)}
	for _, entry := range x.Versions {
		v := buildcache.Version{ID: entry.ID, Latest: entry.IsLatest == "true", Deleted: entry.XMLName.Local == "DeleteMarker"}
		if !v.Deleted && entry.XMLName.Local != "Version" {
			continue
		}
		if v.Deleted {
			entry.Size = []byte("0")
		}
		raw.contents = append(raw.contents, rawObject{entry.Key, entry.LastModified, entry.ETag, entry.Size})
		p.versions = append(p.versions, v)
	}
	text := newTexts(&raw)
	for i := range p.versions {
		if err := raw.contents[i].check(text, &p.versions[i].Object); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// relate makes keys relative to root, as in a page of objects.
func (p *versionsPage) relate(root, prefix string) error {
	for i := range p.versions {
		key, ok := strings.CutPrefix(p.versions[i].Key, root)
		if !ok || !strings.HasPrefix(key, prefix) {
			return cutf("the listing holds %q, which was not asked for", p.versions[i].Key)
		}
		p.versions[i].Key = key
	}
	return nil
}

// DeleteVersions removes versions for good, delete markers too. Its errors are
// those of Delete.
func (s *Store) DeleteVersions(ctx context.Context, versions []buildcache.Version) error {
	targets := make([]target, len(versions))
	for i, v := range versions {
		if v.ID == "" {
			return fmt.Errorf("%s: delete a version of %s: want its ID", s, v.Key)
		}
		targets[i] = target{v.Key, v.ID}
	}
	return s.deleteAll(ctx, targets)
}
