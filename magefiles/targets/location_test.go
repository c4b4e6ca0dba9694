package targets

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/ui"
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

// A build reads a mirror with its own keys or by the standard AWS chain; where credentials of
// another name are asked for, by those only.
func TestABuildReadsAMirrorByTheAWSChain(t *testing.T) {
	for _, name := range []string{"AWS_CACHE_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	a := &app{UI: ui.New(io.Discard, io.Discard, "", ui.Style{}), config: Config{Platforms: map[string]Platform{
		"linux/amd64": {Mirror: "s3://cache"},
		"linux/arm64": {Mirror: "s3://named", Credentials: "RELEASES"},
	}}}
	reads := func(mirror string, want bool) {
		t.Helper()
		if s, err := a.readable(t.Context(), mirror); err != nil || (s != nil) != want {
			t.Errorf("%s: got %v, %v", mirror, s, err)
		}
	}
	reads("s3://cache", false)
	config := filepath.Join(os.Getenv("HOME"), "config")
	t.Setenv("AWS_CONFIG_FILE", config)
	reads("s3://cache", false) // it is named, and not there
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	reads("s3://cache", true)
	t.Setenv("AWS_CONFIG_FILE", "")
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", config)
	t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/ci")
	reads("s3://cache", true)
	reads("s3://named", false)
	t.Setenv("RELEASES_ACCESS_KEY_ID", "id")
	reads("s3://named", true)
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

// However a mirror is spelt it has one waiting room, the rules of its platform, and one turn in a
// run.
func TestAMirrorIsOneHoweverItIsSpelt(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{"my cache", "other"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("my cache", "link"); err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	three := 3
	run := janitorRun{app: &app{config: Config{Platforms: map[string]Platform{
		"linux/amd64": {Mirror: "my cache/", Janitor: &MirrorRules{KeepLast: &three}},
		"linux/arm64": {Mirror: "s3://b/p/", Endpoint: "https://minio.example", Janitor: &MirrorRules{KeepLast: &three}},
	}}}}
	for _, group := range [][]string{
		{"my cache", "my cache/", "./my cache", "other/../my cache", here + "/my cache//", "file://" + here + "/my%20cache", "file://localhost" + here + "/my%20cache/"},
		{"s3://b/p", "s3://b/p/", "s3://b//p"},
	} {
		names := map[string]bool{}
		for _, url := range group {
			at, err := run.location(url)
			if err != nil {
				t.Fatal(err)
			}
			names[mirrorName(at)] = true
			if policy, err := run.policy(at); err != nil || policy.KeepLast != 3 {
				t.Errorf("%s: the rules of its platform do not hold: %+v, %v", url, policy, err)
			}
		}
		flag := strings.Join(group, ",")
		if urls, err := run.mirrors(&flag); err != nil || len(urls) != 1 || len(names) != 1 {
			t.Errorf("got %q, %v, %v", urls, names, err)
		}
	}
	at, _ := run.location("link")
	if real, _ := run.location("my cache"); mirrorName(at) != mirrorName(real) {
		t.Error("a link to a folder is another mirror")
	}
	if urls, err := run.mirrors(nil); err != nil || len(urls) != 2 {
		t.Errorf("of the configuration: %q, %v", urls, err)
	}
	in, err := bucketOf(run.config.locations()[1])
	if err != nil || in.Prefix != "p" {
		t.Errorf("inventory: %+v, %v", in, err)
	}
}

// What branches build never gets where releases read, in no spelling.
func TestBranchesHaveAMirrorOfTheirOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), ConfigFile)
	for mirror, refused := range map[string]bool{
		"s3://cache/": true, "s3://cache/branches": true, "s3://cache-branches": false, "oci://x/y": true, "": false,
	} {
		text := "platforms:\n  linux/amd64: {target: x86_64_v3, mirror: s3://cache}\nbranches: {mirror: \"" + mirror + "\"}\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadConfig(path); (err != nil) != refused || err != nil && !strings.Contains(err.Error(), path+":3:20") {
			t.Errorf("%s: got %v", mirror, err)
		}
	}
	a := &app{config: Config{Branches: Branches{Mirror: "s3://cache-branches"}}}
	if _, err := a.offer(t.Context(), "s3://cache-branches/", true, false); err == nil || !strings.Contains(err.Error(), "no release reads that") {
		t.Errorf("a release from the branches' mirror: %v", err)
	}
}

// SIFs in the bucket of a mirror are reached at its endpoint.
func TestSIFsAreReachedAtTheEndpointOfTheirBucket(t *testing.T) {
	t.Chdir(t.TempDir())
	asked := make(chan string, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		w.WriteHeader(http.StatusForbidden)
	}))
	defer server.Close()
	a := &app{config: Config{SIFs: "s3://assets/sifs/", Platforms: map[string]Platform{"linux/amd64": {Mirror: "s3://assets/cache", Endpoint: server.URL}}}}
	a.env.AssetsKeyID, a.env.AssetsKeySecret = "id", "secret"
	store, err := a.openSIFs(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for range store.List(t.Context(), "") {
		break
	}
	if len(asked) == 0 {
		t.Fatal("another endpoint was asked")
	}
	if path := <-asked; !strings.HasPrefix(path, "/assets") {
		t.Errorf("it was asked for %s", path)
	}
	if err := os.Mkdir("sifs", 0o755); err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	where := "file://" + here + "/sifs/"
	if _, err := a.openSIFs(t.Context(), &where); err != nil {
		t.Error(err)
	}
}
