package targets

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func load(t *testing.T, text string) (Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), ConfigFile)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	config, err := loadConfig(path)
	if err != nil {
		err = &stripped{strings.ReplaceAll(err.Error(), path, ConfigFile)}
	}
	return config, err
}

type stripped struct{ text string }

func (s *stripped) Error() string { return s.text }

func TestConfigurationStandsOnItsDefaults(t *testing.T) {
	config, err := load(t, "platforms:\n  linux/amd64: {target: zen4}\njanitor: {max_age: 30d, grace: 0}\n")
	if err != nil {
		t.Fatal(err)
	}
	amd64 := config.Platforms["linux/amd64"]
	if amd64.Target != "zen4" || amd64.Mirror != defaultConfig().Platforms["linux/amd64"].Mirror {
		t.Errorf("linux/amd64 is %+v", amd64)
	}
	if _, ok := config.Platforms["linux/arm64"]; !ok {
		t.Error("linux/arm64 is gone")
	}
	if got := time.Duration(config.Janitor.MaxAge); got != 30*24*time.Hour {
		t.Errorf("max_age is %v", got)
	}
	if config.Janitor.Grace != 0 || config.Janitor.KeepLast != 2 {
		t.Errorf("janitor is %+v", config.Janitor)
	}
}

func TestEmptyAndMissingConfigurationAreTheDefaults(t *testing.T) {
	if _, err := load(t, ""); err != nil {
		t.Error(err)
	}
	if _, err := load(t, "# nothing yet\njanitor:\n"); err != nil {
		t.Error(err)
	}
	if config, err := load(t, "registries:\nspack:\nbase_image:\n"); err != nil || !cmp.Equal(config, defaultConfig()) {
		t.Errorf("empty keys: %+v, %v", config, err)
	}
	if _, err := loadConfig(filepath.Join(t.TempDir(), ConfigFile)); err != nil {
		t.Error(err)
	}
}

func TestMistakesInTheConfigurationAreNamedWhereTheyAre(t *testing.T) {
	for text, want := range map[string]string{
		"janitr: {}\n":                           `spacktainers.yaml:1:1: unknown key "janitr": did you mean "janitor"?`,
		"spack:\n  reff: x\n":                    `spacktainers.yaml:2:3: unknown key "reff": did you mean "ref"?`,
		"janitor:\n  max_age: soon\n":            `spacktainers.yaml:2:12: "soon" is no duration: write 90d, 48h or 30m`,
		"janitor:\n  grace: -1d\n":               `spacktainers.yaml:2:10: "-1d" is no duration: write 90d, 48h or 30m`,
		"janitor:\n  keep_last: two\n":           `spacktainers.yaml:2:14: want a int, found the value "two"`,
		"janitor: {max_fraction: 3}\n":           `spacktainers.yaml:1:25: max_fraction is 3, want 0 to 1`,
		"janitor:\n  max_fraction: .nan\n":       `spacktainers.yaml:2:17: max_fraction is NaN, want 0 to 1`,
		"janitor:\n  keep_last: -1\n":            `spacktainers.yaml:2:14: keep_last is -1, want 0 or more`,
		"janitor:\n  max_age: 106752d\n":         `spacktainers.yaml:2:12: "106752d" is too long: 106751d is the longest`,
		"janitor:\n  max_age: infd\n":            `spacktainers.yaml:2:12: "infd" is too long: 106751d is the longest`,
		"janitor:\n  max_age: nand\n":            `spacktainers.yaml:2:12: "nand" is no duration: write 90d, 48h or 30m`,
		"janitor:\n  max_age: 2562048h\n":        `spacktainers.yaml:2:12: "2562048h" is no duration: write 90d, 48h or 30m`,
		"registries:\n- insecure: true\n":        `spacktainers.yaml:2:3: a registry needs a prefix, such as ghcr.io/organization/`,
		"registries: [{prefix: \"\"}]\n":         `spacktainers.yaml:1:14: a registry needs a prefix, such as ghcr.io/organization/`,
		"registries:\n-\n":                       `spacktainers.yaml:2:2: an entry of the list is empty`,
		"sifs: a\n---\nsifs: b\n":                `spacktainers.yaml:2:1: a second YAML document: this file has one`,
		"spack: &a {}\njanitor: {<<: *a}\n":      `spacktainers.yaml:2:11: "<<" is not read here: write out the keys that it would merge`,
		"platforms:\n  linux/riscv64: {}\n":      `spacktainers.yaml:2:3: unknown platform "linux/riscv64": known are linux/amd64, linux/arm64`,
		"platforms: {linux/amd: {}}\n":           `spacktainers.yaml:1:13: unknown platform "linux/amd": did you mean "linux/amd64" or "linux/arm64"?`,
		"registries: ghcr.io\n":                  `spacktainers.yaml:1:13: want a list, found the value`,
		"registries:\n- {prefix: a, prefx: b}\n": `spacktainers.yaml:2:15: unknown key "prefx": did you mean "prefix"?`,
		"spack: v0.23.1\n":                       `spacktainers.yaml:1:8: want keys and values, found the value`,
		"sifs: a\nsifs: b\n":                     `spacktainers.yaml:2:1: key "sifs" is given twice`,
		"spack:\n  url: [\n":                     `spacktainers.yaml:2:1: invalid YAML: did not find expected node content`,
		"jnitor: {}\nspack: {rf: 1}\n":           "spacktainers.yaml:1:1: unknown key \"jnitor\": did you mean \"janitor\"?\nspacktainers.yaml:2:9: unknown key \"rf\": did you mean \"ref\"?",

		"platforms:\n  linux/amd64:\n    hosts:\n    - local\n    - {url: local, jobs: 4}\n": `spacktainers.yaml:5:7: host "local" is named twice: leave one, with jobs: 2 where it is to build two containers at a time`,
		"platforms: {linux/amd64: {hosts: ['ssh://a', local, 'ssh://a/']}}\n":                `spacktainers.yaml:1:53: host "ssh://a/" is named twice: leave one, with jobs: 2 where it is to build two containers at a time`,
		"ci: {github: {variables: {MY_TOKEN: canary}}}\n":                                    `spacktainers.yaml:1:37: MY_TOKEN is named like a secret, which stands in GitHub's settings and not here; an expression such as ${{ secrets.NAME }} is taken`,
		"platforms: {linux/amd64: {hosts: [local, elsewhere]}}\n":                            `spacktainers.yaml:1:42: host "elsewhere" is none of local, emulate, ssh://user@host:port`,
	} {
		_, err := load(t, text)
		if err == nil {
			t.Errorf("%q: no error", text)
		} else if err.Error() != want {
			t.Errorf("%q:\ngot  %v\nwant %s", text, err, want)
		}
	}
}

func TestCredentialsInWhateverAddressAreRefusedAndNotRepeated(t *testing.T) {
	for _, text := range []string{
		"registries: [{prefix: 'u:canary@ghcr.io/x/'}]",
		"registries: [{prefix: 'https://u:canary@ghcr.io/x/'}]",
		"registries: [{prefix: ghcr.io/x/, realm: 'https://u:canary@h'}]",
		"branches: {registry: 'u:canary@h/x-'}",
		"branches: {mirror: 's3://u:canary@bucket'}",
		"platforms: {linux/amd64: {endpoint: 'https://u:canary@h'}}",
		"platforms: {linux/amd64: {hosts: ['ftp://u:canary@h']}}",
		"base_image: 'u:canary@h/x'",
		"sifs: 's3://u:canary@bucket/x'",
		"janitor: {roots: {images: ['u:canary@h/x']}}",
		"ci: {tool: {url: 'https://u:canary@h/x'}}",
		"ci: {image: 'u:canary@h/x'}",
		"ci: {github: {setup: ['curl https://u:canary@h/x | sh']}}",
		"unknown: {'https://u:canary@h': x}",
	} {
		_, err := load(t, text)
		if err == nil || !strings.Contains(err.Error(), "spacktainers.yaml:1:") || !strings.Contains(err.Error(), "credentials do not belong into the address") ||
			strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got %v", text, err)
		}
	}
	for _, text := range []string{
		"base_image: ubuntu:24.04@sha256:" + strings.Repeat("a", 64),
		"spack: {url: 'git@github.com:spack/spack.git'}",
		"platforms: {linux/amd64: {hosts: ['ssh://user@host:22']}}",
		"ci: {github: {variables: {HTTPS_PROXY: 'http://${{ vars.U }}:${{ secrets.P }}@proxy:3128'}}}",
		"ci: {gitlab: {jobs: {variables: {HTTPS_PROXY: 'http://$U:$P@proxy:3128'}}}}",
	} {
		if _, err := load(t, text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestAnExpressionOfGitHubIsNoSecret(t *testing.T) {
	if _, err := load(t, "ci: {github: {variables: {MY_TOKEN: '${{ secrets.MINE }}', HTTPS_PROXY: 'http://proxy:3128'}}}\n"); err != nil {
		t.Error(err)
	}
}

func TestShippedConfigurationIsValid(t *testing.T) {
	if _, err := loadConfig("../../" + ConfigFile); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat("../../" + ConfigFile); err != nil {
		t.Error(err)
	}
}

// What a pull request writes into the configuration is no option of any program, and no command.
func TestConfigurationRunsNothing(t *testing.T) {
	for text, want := range map[string]string{
		"spack: {url: '--upload-pack=touch pwned'}\n":                          "spacktainers.yaml:1:14: an address of a git repository does not begin with a dash",
		"spack: {url: 'ext::sh -c pwned'}\n":                                   "transport helper",
		"spack:\n  url: https://user:canary@example.org/spack.git\n":           "spacktainers.yaml:2:8: credentials do not belong into the address",
		"spack: {ref: --upload-pack=x}\n":                                      "is no branch, tag or commit",
		"spack:\n  repos:\n  - {url: https://h/x, ref: m, paths: [../../x]}\n": "is no path in a repository",
		"base_image: 'debootstrap:--setup-hook=pwned'\n":                       "is no suite of Debian",
		"base_image: --creds=x\n":                                              "is no image",
		"platforms: {linux/amd64: {base_image: 'a b'}}\n":                      "is no image",
		"packages: {builder: [git, '-oAPT::Update::Pre-Invoke::=x']}\n":        "spacktainers.yaml:1:27: ",
		"platforms: {linux/amd64: {hosts: ['ssh://-oProxyCommand=x']}}\n":      "is none of local",
		"platforms: {linux/amd64: {hosts: [{url: local, jobs: many}]}}\n":      "jobs is many, want 1 to 64",
	} {
		_, err := load(t, text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("a credential is repeated: %v", err)
		}
	}
}
