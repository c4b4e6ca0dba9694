package targets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/openbraininstitute/spacktainers/magefiles/internal/strict"
)

// ConfigFile is where the configuration lies, below the repository's root. A
// repository without one runs on the defaults.
const ConfigFile = "spacktainers.yaml"

// A Config is what spacktainers.yaml says. Credentials never stand in it.
type Config struct {
	Spack      Spack               `yaml:"spack"`
	BaseImage  string              `yaml:"base_image"`
	Registries []Registry          `yaml:"registries"`
	Platforms  map[string]Platform `yaml:"platforms"`
	SIFs       string              `yaml:"sifs"`
	Janitor    Janitor             `yaml:"janitor"`
}

// Spack says which Spack builds, and with which package repositories.
type Spack struct {
	URL   string        `yaml:"url"`
	Ref   string        `yaml:"ref"`
	Repos []PackageRepo `yaml:"repos"`
}

// A PackageRepo is a git repository with package repositories in it; the last
// one that has a package wins.
type PackageRepo struct {
	URL   string   `yaml:"url"`
	Ref   string   `yaml:"ref"`
	Paths []string `yaml:"paths"`
}

// A Registry is where images go. The first of several is asked whether an
// image is already there.
type Registry struct {
	Prefix       string   `yaml:"prefix"`
	Environments []string `yaml:"environments"` // empty: all
	Insecure     bool     `yaml:"insecure"`     // plain http beyond loopback
}

// A Platform says how images for it are built: for which microarchitecture,
// with which build cache, and where.
type Platform struct {
	Target string   `yaml:"target"`
	Mirror string   `yaml:"mirror"`
	Hosts  []string `yaml:"hosts"`
}

// Janitor holds the defaults of the janitor's rules.
type Janitor struct {
	MaxAge      Duration `yaml:"max_age"`
	Grace       Duration `yaml:"grace"`
	KeepLast    int      `yaml:"keep_last"`
	MaxFraction float64  `yaml:"max_fraction"`
}

// A Duration is a time.Duration that is also read and written in days: 90d.
type Duration time.Duration

func (d *Duration) UnmarshalYAML(node *yaml.Node) error {
	parsed, err := parseDuration(node.Value)
	*d = Duration(parsed)
	return err
}

// parseDuration reads 90d, 48h, 90m or 0.
func parseDuration(text string) (time.Duration, error) {
	days, isDays := strings.CutSuffix(text, "d")
	if n, err := strconv.ParseFloat(days, 64); isDays && err == nil && n >= 0 {
		return time.Duration(n * 24 * float64(time.Hour)), nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is no duration: write 90d, 48h or 30m", text)
	}
	return d, nil
}

// defaultConfig is what holds where spacktainers.yaml says nothing.
func defaultConfig() Config {
	return Config{
		Spack: Spack{
			URL: "https://github.com/spack/spack.git",
			Ref: "v0.23.1",
		},
		BaseImage:  "docker.io/library/ubuntu:24.04",
		Registries: []Registry{{Prefix: "ghcr.io/openbraininstitute/spack-"}},
		Platforms: map[string]Platform{
			"linux/amd64": {Target: "x86_64_v3", Mirror: "s3://spacktainers-cache-amd64", Hosts: []string{"local"}},
			"linux/arm64": {Target: "armv8.4a", Mirror: "s3://spacktainers-cache-arm64", Hosts: []string{"emulate"}},
		},
		SIFs: "s3://infrastructure-assets/containers",
		Janitor: Janitor{
			MaxAge:      Duration(90 * 24 * time.Hour),
			Grace:       Duration(48 * time.Hour),
			KeepLast:    2,
			MaxFraction: 0.5,
		},
	}
}

// loadConfig reads spacktainers.yaml over the defaults. Its error says
// path:line:column of every mistake.
func loadConfig(path string) (Config, error) {
	config := defaultConfig()
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return config, nil
	}
	if err != nil {
		return config, fmt.Errorf("configuration: %w", err)
	}
	if err := strict.Decode(path, data, &config); err != nil {
		return config, err
	}
	return config, config.check(path)
}

// check refuses values that no target could use.
func (c Config) check(path string) error {
	var errs []error
	fail := func(format string, args ...any) {
		errs = append(errs, &strict.Mistake{Path: path, Message: fmt.Sprintf(format, args...)})
	}
	for name := range c.Platforms {
		if name != "linux/amd64" && name != "linux/arm64" {
			fail("platforms: %q is none of linux/amd64, linux/arm64", name)
		}
	}
	if f := c.Janitor.MaxFraction; f < 0 || f > 1 {
		fail("janitor: max_fraction is %v, want 0 to 1", f)
	}
	if c.Janitor.KeepLast < 0 {
		fail("janitor: keep_last is %d, want 0 or more", c.Janitor.KeepLast)
	}
	return errors.Join(errs...)
}

// An environment is what the targets take from environment variables. Nothing
// else in the project reads any, so that what a target obeys stands here.
type environment struct {
	CI           string // "github", "gitlab", "other", or empty at a shell
	NoColor      bool
	SummaryFile  string // GitHub's job summary
	RequireTools bool   // a test skipped for a missing tool is a failure
	PublicKey    string // file of the key that signs the build cache
	S3PathStyle  bool   // an S3 server of one's own: http://host/bucket

	AssetsKeyID, AssetsKeySecret string // for the bucket of SIFs
	SIFPassphrase                string // of the key that signs SIFs
}

func readEnvironment() environment {
	e := environment{
		NoColor:      os.Getenv("NO_COLOR") != "",
		SummaryFile:  os.Getenv("GITHUB_STEP_SUMMARY"),
		RequireTools: os.Getenv("SPACKTAINERS_REQUIRE_TOOLS") == "1",
		PublicKey:    os.Getenv("SPACK_DEPLOYMENT_KEY_PUBLIC"),
		S3PathStyle:  os.Getenv("AWS_ENDPOINT_URL") != "" || os.Getenv("AWS_ENDPOINT_URL_S3") != "",

		AssetsKeyID:     os.Getenv("AWS_INFRASTRUCTURE_ACCESS_KEY_ID"),
		AssetsKeySecret: os.Getenv("AWS_INFRASTRUCTURE_SECRET_ACCESS_KEY"),
		SIFPassphrase:   os.Getenv("SIF_KEY_PASSPHRASE"),
	}
	switch {
	case os.Getenv("GITHUB_ACTIONS") == "true":
		e.CI = "github"
	case os.Getenv("GITLAB_CI") == "true":
		e.CI = "gitlab"
	case os.Getenv("CI") != "":
		e.CI = "other"
	}
	return e
}

// has says whether a variable is set, and nothing of its value.
func (environment) has(name string) bool { return os.Getenv(name) != "" }
