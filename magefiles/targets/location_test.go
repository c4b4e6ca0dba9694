package targets

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whatever the spelling on the command line, a mirror is reached as the configuration says.
func TestLocationTakesTheEndpointOfTheConfiguration(t *testing.T) {
	t.Chdir(t.TempDir())
	a := &app{config: Config{Platforms: map[string]Platform{
		"linux/amd64": {Mirror: "s3://cache/amd64/", Endpoint: "https://minio.example", Anonymous: true},
		"linux/arm64": {Mirror: "../cache"},
	}}}
	for _, address := range []string{"s3://cache/amd64", "s3://cache/amd64/", "s3://cache//amd64"} {
		at, err := a.location(address)
		if err != nil || at.Endpoint != "https://minio.example" || !at.Anonymous {
			t.Errorf("%s: got %+v, %v", address, at, err)
		}
		if opts := a.bucketOptions(at); opts.Endpoint != at.Endpoint || !opts.PathStyle || !opts.Anonymous {
			t.Errorf("%s: got %+v", address, opts)
		}
	}
	if at, err := a.location("s3://cache/inventory"); err != nil || at.Endpoint != "https://minio.example" || at.Prefix != "inventory" {
		t.Errorf("another part of the bucket: got %+v, %v", at, err)
	}
	if at, err := a.location("s3://cache2/amd64"); err != nil || at.Endpoint != "" || at.Anonymous {
		t.Errorf("another mirror: got %+v, %v", at, err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if at, err := a.location("file://" + filepath.Join(here, "../cache") + "/"); err != nil || at.Folder != filepath.Join(here, "../cache") {
		t.Errorf("a folder: got %+v, %v", at, err)
	}
}

func TestConfigurationRefusesMirrorsThatAreNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), ConfigFile)
	for mirror, say := range map[string]string{
		"oci://ghcr.io/x": "registry", "https://mirror/x": "web server", "gs://b/x": "storage.googleapis.com", "s3://me:secret@b": "credentials",
	} {
		if err := os.WriteFile(path, []byte("platforms:\n  linux/amd64: {target: x86_64_v3, mirror: \""+mirror+"\"}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := loadConfig(path)
		if err == nil || !strings.Contains(err.Error(), path+":2:") || !strings.Contains(err.Error(), say) || strings.Contains(err.Error(), "secret@") {
			t.Errorf("%s: got %v", mirror, err)
		}
	}
}
