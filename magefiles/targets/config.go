package targets

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/podman"
	"github.com/openbraininstitute/spacktainers/internal/registry"
	"github.com/openbraininstitute/spacktainers/internal/suggest"
	"github.com/openbraininstitute/spacktainers/internal/yamlstrict"
)

// ConfigFile is where the configuration lies, below the repository's root. A
// repository without one runs on the defaults.
const ConfigFile = "spacktainers.yaml"

// A Config is what spacktainers.yaml says. Credentials never stand in it.
type Config struct {
	Spack      Spack               `yaml:"spack"`
	BaseImage  string              `yaml:"base_image"`
	Packages   map[string][]string `yaml:"packages"` // Debian packages in the base images, by their names
	Registries []Registry          `yaml:"registries"`
	Platforms  map[string]Platform `yaml:"platforms"`
	Branches   Branches            `yaml:"branches"`
	SIFs       string              `yaml:"sifs"`
	ImageKey   string              `yaml:"image_key"` // file of the public key that releases of images must be signed with
	SIFKey     string              `yaml:"sif_key"`   // file of the public key that lists of SIFs must be signed with
	Janitor    JanitorRules        `yaml:"janitor"`
	CI         CI                  `yaml:"ci"`
}

// Spack says which Spack builds, and with which package repositories.
type Spack struct {
	URL   string        `yaml:"url"`
	Ref   string        `yaml:"ref"`
	Repos []PackageRepo `yaml:"repos"`

	Private []string `yaml:"private"` // hosts whose repositories release builds may read with git's credentials
}

// Branches say where builds that are no releases leave what they make: never
// where a release reads.
type Branches struct {
	Registry    string `yaml:"registry"` // prefix of every repository
	Mirror      string `yaml:"mirror"`   // build cache of their packages, which go unsigned
	Endpoint    string `yaml:"endpoint"`
	Credentials string `yaml:"credentials"` // NAME: NAME_ACCESS_KEY_ID, NAME_SECRET_ACCESS_KEY; NAME_USER, NAME_PASSWORD
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
	Realm        string   `yaml:"realm"`        // host of its token service, where that is in another domain
	Credentials  string   `yaml:"credentials"`  // NAME: NAME_USER and NAME_PASSWORD, and no others
}

// host is the registry's own name, with the port.
func (r Registry) host() string { return registry.Registry(r).Host() }

// A Platform says how images for it are built: for which microarchitecture,
// with which build cache, and where.
type Platform struct {
	Target   string `yaml:"target"`
	Mirror   string `yaml:"mirror"`
	Endpoint string `yaml:"endpoint"` // of the mirror's S3, where it is not Amazon's

	Credentials string `yaml:"credentials"` // of the mirror: NAME picks NAME_ACCESS_KEY_ID and NAME_SECRET_ACCESS_KEY (default: AWS_CACHE)
	Anonymous   bool   `yaml:"anonymous"`   // everybody may read the mirror: no credentials are used

	BaseImage string `yaml:"base_image"` // instead of the one for all
	Hosts     []Host `yaml:"hosts"`      // where it is built: the first one that can

	Janitor *MirrorRules `yaml:"janitor"` // rules for its mirror, where they differ
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
			"linux/amd64": {Target: "x86_64_v3", Mirror: "s3://spacktainers-cache-amd64", Hosts: []Host{{URL: podman.Local}}},
			"linux/arm64": {Target: "armv8.4a", Mirror: "s3://spacktainers-cache-arm64", Hosts: []Host{{URL: podman.Emulate}}},
		},
		SIFs: "s3://infrastructure-assets/containers",
		Janitor: JanitorRules{
			MaxAge:      Duration(90 * 24 * time.Hour),
			Grace:       Duration(48 * time.Hour),
			Wait:        Duration(6 * 24 * time.Hour),
			KeepLast:    2,
			MaxFraction: 0.5,
		},
		CI: CI{JobTime: Duration(30 * time.Minute)},
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
	if err := checkAddresses(path, data); err != nil {
		return config, err
	}
	if err := yamlstrict.Decode(path, data, &config); err != nil {
		return config, err
	}
	return config, config.check(path, data)
}

// check refuses values that no target could use. data is the file at path, for
// the places.
func (c Config) check(path string, data []byte) error {
	var errs []error
	fail := func(at *yaml.Node, format string, args ...any) {
		errs = append(errs, &yamlstrict.Mistake{Path: path, Line: at.Line, Column: at.Column, Message: fmt.Sprintf(format, args...)})
	}
	c.checkBuild(data, fail)
	c.checkRegistries(data, fail)
	c.checkCredentials(data, fail)
	known := slices.Sorted(maps.Keys(defaultConfig().Platforms))
	for _, name := range slices.Sorted(maps.Keys(c.Platforms)) {
		if !slices.Contains(known, name) {
			at, _ := yamlstrict.Find(data, "platforms", name)
			fail(at, "unknown platform %q: %s", name, suggest.Hint(name, known))
		}
		if mirror := c.Platforms[name].Mirror; mirror != "" {
			if _, err := buildcache.ParseLocation(mirror, ""); err != nil {
				_, at := yamlstrict.Find(data, "platforms", name, "mirror")
				fail(at, "%v", err)
			}
		}
	}
	c.checkHosts(data, fail)
	c.checkBranchesMirror(data, fail)
	c.checkTimes(data, fail)
	c.CI.checkImage(data, fail)
	c.checkGitLab(data, fail)
	c.checkGitHub(data, fail)
	c.Janitor.check(data, []string{"janitor"}, fail)
	for name, p := range c.Platforms {
		if p.Janitor != nil {
			p.Janitor.over(c.Janitor).check(data, []string{"platforms", name, "janitor"}, fail)
		}
	}
	return errors.Join(errs...)
}

// An environment is what the targets take from environment variables. Nothing
// else in the project reads any, so that what a target obeys stands here.
type environment struct {
	CI           string // "github", "gitlab", "other", or empty at a shell
	NoColor      bool
	SummaryFile  string                // GitHub's job summary
	RequireTools bool                  // a test skipped for a missing tool is a failure
	User         string                // who runs this, for others who find the janitor at work
	PublicKey    string                // file of the key that signs the build cache
	Files        map[string]secretFile // that variables name, by variable

	S3PathStyle bool // an S3 server of one's own: http://host/bucket

	Registries registry.Credentials
	Git        gitEnvironment
	KeyPass    string // of the key that signs images

	AssetsKeyID, AssetsKeySecret, AssetsToken string // for the bucket of SIFs

	SIFPassphrase string // of the key that signs SIFs

	SourceDate string // seconds since 1970: the time that what is made says it was made at

	GitLab gitlabAPI
}

// A gitlabAPI is what a job of GitLab CI is told of the server that runs it.
type gitlabAPI struct {
	API, Project, Pipeline string
	JobToken               string // of this job
	Token                  string // that the user has given
	MergeRequest, Target   string // its number, and that of the project that it is made to
}

// mageAsks is the option that mage has taken, where it tells it to what it has compiled by a variable
// alone.
func mageAsks() []string {
	for _, option := range []string{"HELP", "LIST"} {
		if on, _ := strconv.ParseBool(os.Getenv("MAGEFILE_" + option)); on {
			return []string{"-" + strings.ToLower(option[:1])}
		}
	}
	return nil
}

func readEnvironment() environment {
	e := environment{
		NoColor:      os.Getenv("NO_COLOR") != "",
		SummaryFile:  os.Getenv("GITHUB_STEP_SUMMARY"),
		RequireTools: os.Getenv("SPACKTAINERS_REQUIRE_TOOLS") == "1",
		User:         os.Getenv("USER"),
		PublicKey:    os.Getenv(publicKeyVariable),
		Files:        map[string]secretFile{},

		S3PathStyle: os.Getenv("AWS_ENDPOINT_URL") != "" || os.Getenv("AWS_ENDPOINT_URL_S3") != "",

		Registries: readCredentials(),
		KeyPass:    os.Getenv("COSIGN_PASSWORD"),

		AssetsKeyID:     os.Getenv("AWS_INFRASTRUCTURE_ACCESS_KEY_ID"),
		AssetsKeySecret: os.Getenv("AWS_INFRASTRUCTURE_SECRET_ACCESS_KEY"),
		AssetsToken:     os.Getenv("AWS_INFRASTRUCTURE_SESSION_TOKEN"),
		SIFPassphrase:   os.Getenv("SIF_KEY_PASSPHRASE"),
		SourceDate:      os.Getenv("SOURCE_DATE_EPOCH"),

		GitLab: gitlabAPI{
			API: os.Getenv("CI_API_V4_URL"), Project: os.Getenv("CI_PROJECT_ID"), Pipeline: os.Getenv("CI_PIPELINE_ID"),
			JobToken: os.Getenv("CI_JOB_TOKEN"), Token: os.Getenv("GITLAB_API_TOKEN"),
			MergeRequest: os.Getenv("CI_MERGE_REQUEST_IID"), Target: os.Getenv("CI_MERGE_REQUEST_PROJECT_ID"),
		},
	}
	for _, name := range []string{publicKeyVariable, privateKeyVariable, gitVariable} {
		e.Files[name] = secretFile{name, os.Getenv(name), os.Getenv(name + "_CONTENT")}
	}
	switch {
	case os.Getenv("GITHUB_ACTIONS") == "true":
		e.CI, e.Git = "github", readGitHub()
	case os.Getenv("GITLAB_CI") == "true":
		e.CI, e.Git = "gitlab", readGitLab()
	case os.Getenv("CI") != "":
		e.CI = "other"
	}
	return e
}

// keys are the credentials for a bucket or Amazon's registry:
// NAME_ACCESS_KEY_ID, NAME_SECRET_ACCESS_KEY and NAME_SESSION_TOKEN; empty where
// they are not given.
func (environment) keys(name string) (id, secret, token string) {
	return os.Getenv(name + "_ACCESS_KEY_ID"), os.Getenv(name + "_SECRET_ACCESS_KEY"), os.Getenv(name + "_SESSION_TOKEN")
}

// hasAWSChain reports whether something that the standard AWS chain reads is there: keys, an
// identity of a CI system (as OIDC gives it), a container's role, or a file. A machine's role alone
// is not looked for, which would ask the network.
func (e environment) hasAWSChain() bool {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"} {
		if e.has(name) {
			return true
		}
	}
	home, _ := os.UserHomeDir()
	for _, path := range []string{
		cmp.Or(os.Getenv("AWS_SHARED_CREDENTIALS_FILE"), filepath.Join(home, ".aws", "credentials")),
		cmp.Or(os.Getenv("AWS_CONFIG_FILE"), filepath.Join(home, ".aws", "config")),
	} {
		if _, err := os.Stat(path); err == nil {
			return true
		}
	}
	return false
}

// login is that of a registry: NAME_USER and NAME_PASSWORD; empty where it is
// not given.
func (environment) login(name string) registry.Login {
	return registry.Login{User: os.Getenv(name + "_USER"), Password: os.Getenv(name + "_PASSWORD")}
}

// secret is the value of a variable that the configuration names.
func (environment) secret(name string) string { return os.Getenv(name) }

// has reports whether a variable is set, and nothing of its value.
func (environment) has(name string) bool { return os.Getenv(name) != "" }

// A gitEnvironment is what a CI system says of the commit that it works on.
type gitEnvironment struct {
	Branch, Tag, Default string
	Pull                 bool // a pull or merge request
	Protected            bool // the branch or tag is, as the CI system says
	Commit, Source       string
	Job                  string // the job's address
	Event                string // GitHub's file with more of it
}

func readGitHub() gitEnvironment {
	g := gitEnvironment{Commit: os.Getenv("GITHUB_SHA"), Event: os.Getenv("GITHUB_EVENT_PATH"), Protected: os.Getenv("GITHUB_REF_PROTECTED") == "true"}
	if server, repository := os.Getenv("GITHUB_SERVER_URL"), os.Getenv("GITHUB_REPOSITORY"); repository != "" {
		g.Source = server + "/" + repository
		g.Job = g.Source + "/actions/runs/" + os.Getenv("GITHUB_RUN_ID")
	}
	switch head := os.Getenv("GITHUB_HEAD_REF"); {
	case head != "":
		g.Branch, g.Pull = head, true
	case os.Getenv("GITHUB_REF_TYPE") == "tag":
		g.Tag = os.Getenv("GITHUB_REF_NAME")
	default:
		g.Branch = os.Getenv("GITHUB_REF_NAME")
	}
	return g
}

func readGitLab() gitEnvironment {
	g := gitEnvironment{
		Branch: os.Getenv("CI_COMMIT_BRANCH"), Tag: os.Getenv("CI_COMMIT_TAG"), Default: os.Getenv("CI_DEFAULT_BRANCH"),
		Commit: os.Getenv("CI_COMMIT_SHA"), Source: os.Getenv("CI_PROJECT_URL"), Job: os.Getenv("CI_JOB_URL"),
		Protected: os.Getenv("CI_COMMIT_REF_PROTECTED") == "true",
	}
	if merge := os.Getenv("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME"); merge != "" {
		g.Branch, g.Pull = merge, true
	}
	return g
}

// readCredentials takes what users and CI systems give for registries. What is
// not here is in podman's or docker's auth files.
func readCredentials() registry.Credentials {
	c := registry.Credentials{
		GHCR:       registry.Login{User: os.Getenv("GHCR_USER"), Password: os.Getenv("GHCR_TOKEN")},
		DockerHub:  registry.Login{User: os.Getenv("DOCKERHUB_USER"), Password: os.Getenv("DOCKERHUB_PASSWORD")},
		GitLab:     registry.Login{User: os.Getenv("CI_REGISTRY_USER"), Password: os.Getenv("CI_REGISTRY_PASSWORD")},
		GitLabHost: os.Getenv("CI_REGISTRY"),
	}
	if token := os.Getenv("CI_JOB_TOKEN"); c.GitLab.Password == "" && token != "" {
		c.GitLab = registry.Login{User: "gitlab-ci-token", Password: token}
	}
	if file := os.Getenv("REGISTRY_AUTH_FILE"); file != "" {
		c.AuthFiles = append(c.AuthFiles, file)
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		c.AuthFiles = append(c.AuthFiles, filepath.Join(dir, "containers", "auth.json"))
	}
	if dir, err := os.UserConfigDir(); err == nil {
		c.AuthFiles = append(c.AuthFiles, filepath.Join(dir, "containers", "auth.json"))
	}
	return c
}
