package targets

import (
	"os"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/testing/s3test"
)

// The keys of the bucket of SIFs are not those of the build cache.
func TestSIFsGoToABucketWithKeysOfItsOwn(t *testing.T) {
	server := s3test.MinIO(t)
	for name, value := range map[string]string{
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_ENDPOINT_URL": server.Endpoint, "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "else",
		"AWS_INFRASTRUCTURE_ACCESS_KEY_ID": server.AccessKey, "AWS_INFRASTRUCTURE_SECRET_ACCESS_KEY": server.SecretKey,
	} {
		t.Setenv(name, value)
	}
	a := &app{config: defaultConfig(), env: readEnvironment()}
	url := "s3://" + server.NewBucket(t) + "/containers"
	store, err := a.openSIFs(t.Context(), &url)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Put(t.Context(), "x.json", strings.NewReader("{}"), 2, buildcache.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	nowhere := ""
	if _, err := a.openSIFs(t.Context(), &nowhere); err == nil || !strings.Contains(err.Error(), "--sifs=URL") {
		t.Errorf("without a place to go: %v", err)
	}
}
