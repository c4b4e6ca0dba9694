package s3test_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/openbraininstitute/spacktainers/internal/s3test"
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
