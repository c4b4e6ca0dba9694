package s3test_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/openbraininstitute/spacktainers/internal/testing/s3test"
)

func client(server *s3test.Server) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: &server.Endpoint, Region: "us-east-1", UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(server.AccessKey, server.SecretKey, ""),
	})
}

func TestServers(t *testing.T) {
	for _, server := range s3test.All(t) {
		t.Run(server.Name, func(t *testing.T) {
			c, bucket := client(server), server.NewBucket(t)
			if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("a/b c"), Body: strings.NewReader("text")}); err != nil {
				t.Fatal(err)
			}
			at := time.Date(2020, 2, 29, 12, 30, 15, 0, time.UTC)
			server.SetModTime(t, bucket, "a/b c", at)
			page, err := c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket})
			if err != nil || len(page.Contents) != 1 || !page.Contents[0].LastModified.Equal(at) || *page.Contents[0].Size != 4 {
				t.Errorf("got %+v, %v, want one object of %v", page, err, at)
			}
			server.EnableVersioning(t, bucket)
		})
	}
}

// What Fill stores is as what was put.
func TestFill(t *testing.T) {
	for _, server := range s3test.All(t) {
		t.Run(server.Name, func(t *testing.T) {
			c, filled, put := client(server), server.NewBucket(t), server.NewBucket(t)
			at := time.Date(2020, 2, 29, 12, 30, 15, 0, time.UTC)
			bodies := map[string]string{"long": strings.Repeat("1", 2<<20)}
			for n := range 700 {
				bodies[fmt.Sprintf("a/%d/%d-b+c~%s.json", n%10, n, strings.Repeat("x", 150))] = fmt.Sprint(n % 100)
			}
			err := server.Fill(t.Context(), filled, func(fill s3test.PutFunc) error {
				for key, body := range bodies {
					if err := fill(key, []byte(body), at); err != nil {
						return err
					}
					if !strings.Contains(body, "1") { // most are not worth the time
						continue
					}
					if err := server.PutAt(t.Context(), put, key, []byte(body), at); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			list := func(bucket string) map[string]string {
				page, err := c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket})
				if err != nil {
					t.Fatal(err)
				}
				found := map[string]string{}
				for _, o := range page.Contents {
					found[*o.Key] = fmt.Sprint(*o.Size, *o.ETag, o.LastModified)
				}
				return found
			}
			got, want := list(filled), list(put)
			if len(got) != len(bodies) || len(want) == 0 {
				t.Errorf("got %d objects of %d, %d to compare with", len(got), len(bodies), len(want))
			}
			for key, said := range want {
				if got[key] != said {
					t.Fatalf("%s: got %q, want %q", key, got[key], said)
				}
			}
		})
	}
}

func TestAllowedReadsAreReadsOnly(t *testing.T) {
	for _, server := range s3test.All(t) {
		t.Run(server.Name, func(t *testing.T) {
			bucket := server.NewBucket(t)
			do := func(method, key string) int {
				req, err := http.NewRequestWithContext(t.Context(), method, server.Endpoint+"/"+bucket+"/"+key, strings.NewReader("x"))
				if err != nil {
					t.Fatal(err)
				}
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				return resp.StatusCode
			}
			if got := do(http.MethodGet, "?list-type=2"); got != http.StatusForbidden {
				t.Errorf("before: got %d", got)
			}
			server.AllowReads(t, bucket)
			for _, tt := range []struct {
				method, key string
				want        int
			}{
				{http.MethodGet, "?list-type=2", http.StatusOK},
				{http.MethodGet, "missing", http.StatusNotFound},
				{http.MethodPut, "a", http.StatusForbidden},
				{http.MethodDelete, "a", http.StatusForbidden},
			} {
				if got := do(tt.method, tt.key); got != tt.want {
					t.Errorf("%s %s: got %d, want %d", tt.method, tt.key, got, tt.want)
				}
			}
		})
	}
}
