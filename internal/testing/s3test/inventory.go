package s3test

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Inventory puts an S3 Inventory of a bucket into another one, as S3 itself
// delivers it: below daily/BUCKET/all/, in several parts that are not sorted,
// with a manifest and its checksum. With versions it lists what was
// overwritten and deleted too. It returns the key of the manifest.
func (s *Server) Inventory(t testing.TB, bucket, destination string, versions bool, at time.Time) (manifest string) {
	t.Helper()
	const parts = 3
	schema := "Bucket, Key, Size, LastModifiedDate, ETag, StorageClass"
	rows := s.inventoryRows(t, bucket)
	if versions {
		schema = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass"
		rows = s.inventoryVersions(t, bucket)
	}
	slices.SortFunc(rows, func(a, b []string) int {
		return cmp.Compare(digest(strings.Join(a, ",")), digest(strings.Join(b, ",")))
	})
	dir := "daily/" + bucket + "/all/"
	type file struct {
		Key  string `json:"key"`
		Size int    `json:"size"`
		MD5  string `json:"MD5checksum"`
	}
	files := []file{}
	for i := range parts {
		part := zipped(t, rows[i*len(rows)/parts:(i+1)*len(rows)/parts])
		files = append(files, file{fmt.Sprintf("%sdata/part-%d.csv.gz", dir, i), len(part), digest(string(part))})
		s.put(t, destination, files[i].Key, part)
	}
	text, err := json.MarshalIndent(map[string]any{
		"sourceBucket": bucket, "destinationBucket": "arn:aws:s3:::" + destination, "version": "2016-11-30",
		"creationTimestamp": strconv.FormatInt(at.UnixMilli(), 10), "fileFormat": "CSV", "fileSchema": schema, "files": files,
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	dir += at.UTC().Format("2006-01-02T15-04Z") + "/"
	s.put(t, destination, dir+"manifest.json", text)
	s.put(t, destination, dir+"manifest.checksum", []byte(digest(string(text))))
	return dir + "manifest.json"
}

func (s *Server) inventoryRows(t testing.TB, bucket string) (rows [][]string) {
	t.Helper()
	pages := s3.NewListObjectsV2Paginator(s.admin, &s3.ListObjectsV2Input{Bucket: &bucket, EncodingType: types.EncodingTypeUrl})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Contents {
			rows = append(rows, []string{bucket, inventoryKey(t, *o.Key, page.EncodingType), strconv.FormatInt(*o.Size, 10), date(*o.LastModified), strings.Trim(*o.ETag, `"`), "STANDARD"})
		}
	}
	return rows
}

func (s *Server) inventoryVersions(t testing.TB, bucket string) (rows [][]string) {
	t.Helper()
	pages := s3.NewListObjectVersionsPaginator(s.admin, &s3.ListObjectVersionsInput{Bucket: &bucket, EncodingType: types.EncodingTypeUrl})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Versions {
			rows = append(rows, []string{bucket, inventoryKey(t, *o.Key, page.EncodingType), *o.VersionId, strconv.FormatBool(*o.IsLatest), "false",
				strconv.FormatInt(*o.Size, 10), date(*o.LastModified), strings.Trim(*o.ETag, `"`), "STANDARD"})
		}
		for _, o := range page.DeleteMarkers {
			rows = append(rows, []string{bucket, inventoryKey(t, *o.Key, page.EncodingType), *o.VersionId, strconv.FormatBool(*o.IsLatest), "true", "", date(*o.LastModified), "", ""})
		}
	}
	return rows
}

// inventoryKey encodes a key as inventories do, which leave slashes as they
// are. Servers differ in how they encode it in a listing, if they do.
func inventoryKey(t testing.TB, key string, encoding types.EncodingType) string {
	t.Helper()
	if encoding == types.EncodingTypeUrl {
		plain, err := url.QueryUnescape(key)
		if err != nil {
			t.Fatal(err)
		}
		key = plain
	}
	return strings.ReplaceAll(url.QueryEscape(key), "%2F", "/")
}

func date(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000Z") }

// zipped returns rows as S3 writes them: with quotes around each field.
func zipped(t testing.TB, rows [][]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	for _, row := range rows {
		fmt.Fprintf(z, "\"%s\"\n", strings.Join(row, `","`)) // no field holds a quote
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func digest(text string) string {
	sum := md5.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

func (s *Server) put(t testing.TB, bucket, key string, body []byte) {
	t.Helper()
	if _, err := s.admin.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body)}); err != nil {
		t.Fatal(err)
	}
}
