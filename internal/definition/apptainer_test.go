package definition

import (
	"strings"
	"testing"
	"testing/fstest"
)

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestImageVersionIsTheTagOfTheFinalStage(t *testing.T) {
	tests := []struct{ name, text, from, version string }{
		{"a tag", "Bootstrap: docker\nFrom: a/b:1.2\n", "a/b:1.2", "1.2"},
		{"no tag", "Bootstrap: docker\nFrom: a/b\n", "a/b", "latest"},
		{"a port", "Bootstrap: docker\nFrom: localhost:5000/a/b:3\n", "localhost:5000/a/b:3", "3"},
		{"a port, no tag", "Bootstrap: docker\nFrom: localhost:5000/a/b\n", "localhost:5000/a/b", "latest"},
		{"a digest", "Bootstrap: docker\nFrom: a/b@" + digest + "\n", "a/b@" + digest, "sha256-0123456789ab"},
		{"a tag and a digest", "Bootstrap: docker\nFrom: a/b:4@" + digest + "\n", "a/b:4@" + digest, "4"},
		{"a port, a digest", "Bootstrap: docker\nFrom: h:5000/b@" + digest + "\n", "h:5000/b@" + digest, "sha256-0123456789ab"},
		{"another case, comments, spaces", "# head\n\n  BOOTSTRAP : Docker # agent\nFROM:a/b:1 # image\n", "a/b:1", "1"},
		{"Windows lines", "Bootstrap: docker\r\nFrom: a/b:1\r\n", "a/b:1", "1"},
		{"From first", "Bootstrap: docker\nRegistry: ghcr.io\nNamespace: org\nFrom: b:1\n", "ghcr.io/org/b:1", "1"},
		{"sections that look like headers", "Bootstrap: docker\nFrom: a/b:1\n%post\nfrom: c/d:2\n%environment\nFrom: e:3\n", "a/b:1", "1"},
		{"several stages", "Bootstrap: docker\nFrom: golang:1.26\nStage: build\n%post\ngo build\n\nBootstrap: docker\nFrom: alpine:3\nStage: final\n%files from build\n/x\n", "alpine:3", "3"},
		{"an artifact", "Bootstrap: oras\nFrom: ghcr.io/a/b:5\n", "ghcr.io/a/b:5", "5"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := loadOne(t, map[string]string{"container_definitions/amd64/x.def": tt.text})
			version, err := d.ImageVersion()
			if err != nil || version != tt.version || d.From != tt.from {
				t.Errorf("got version %q of %q, %v; want %q of %q", version, d.From, err, tt.version, tt.from)
			}
		})
	}
}

// What does not start from an image of a registry has a version as well, so that
// what the check accepts can be built.
func TestVersionsOfOtherAgents(t *testing.T) {
	for text, want := range map[string]string{
		"Bootstrap: library\nFrom: debian:12\n":                                                                              "12",
		"Bootstrap: library\nFrom: user/collection/tool:1.2\n":                                                               "1.2",
		"Bootstrap: library\nFrom: host:8080/tool\n":                                                                         "latest",
		"Bootstrap: shub\nFrom: user/tool\n":                                                                                 "latest",
		"Bootstrap: docker-daemon\nFrom: tool:3\n":                                                                           "3",
		"Bootstrap: docker-archive\nFrom: /a/b.tar\n":                                                                        "latest",
		"Bootstrap: localimage\nFrom: base.sif\n":                                                                            "latest",
		"Bootstrap: localimage\nFrom: /a/b:c.sif\n":                                                                          "latest",
		"Bootstrap: scratch\n":                                                                                               "latest",
		"Bootstrap: debootstrap\nOSVersion: jammy\nMirrorURL: http://mirror.example.org/\n":                                  "jammy",
		"BootStrap: yum\nOSVersion: 9\nMirrorURL: http://example.org/%{OSVERSION}/\n":                                        "9",
		"Bootstrap: docker\nFrom: a:1\n%post\nBootstrap: localimage\nFrom: x.sif\n":                                          "latest",
		"Bootstrap: docker\nFrom: alpine:{{ OS_VER }}\n\n%arguments\n    OS_VER=3.17\n":                                      "3.17",
		"Bootstrap: docker\nFrom: {{IMAGE}}:{{ TAG }}\n%post\ntrue\n%arguments\nIMAGE = a/b\nTAG=2 # old\n":                  "2",
		"Bootstrap: docker\nFrom: a:{{V}}\nStage: x\n%arguments\nV=1\n\nBootstrap: docker\nFrom: b:{{V}}\n%arguments\nV=2\n": "2",
	} {
		d := loadOne(t, map[string]string{"container_definitions/amd64/x.def": text})
		if version, err := d.ImageVersion(); err != nil || version != want {
			t.Errorf("got %q, %v from %q", version, err, text)
		}
	}
}

func TestLoadRefusesApptainerDefinitions(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"no header", "%post\ntrue\n", ":1:1: no Bootstrap: begin with 'Bootstrap: docker' and 'From: IMAGE:TAG'"},
		{"an empty file", "", ":1:1: no Bootstrap: begin with 'Bootstrap: docker' and 'From: IMAGE:TAG'"},
		{"no agent", "\nBootstrap:\nFrom: a\n", ":2:1: Bootstrap names no agent: write 'Bootstrap: docker'"},
		{"no image", "#\nBootstrap: docker\n%post\n", ":2:1: no image: a stage with 'Bootstrap: docker' needs 'From: IMAGE:TAG'"},
		{"an empty image", "Bootstrap: docker\nFrom:\n", ":2:1: no image: a stage with 'Bootstrap: docker' needs 'From: IMAGE:TAG'"},
		{"no image in an early stage", "Bootstrap: docker\nStage: a\n\nBootstrap: docker\nFrom: b\n", ":1:1: no image: a stage with 'Bootstrap: docker' needs 'From: IMAGE:TAG'"},
		{"no agent of Apptainer", "Bootstrap: dokcer\nFrom: a\n", `:1:1: Apptainer has no bootstrap agent "dokcer": did you mean "docker"?`},
		{"no value", "Bootstrap: docker\nFrom: a:{{ V }}\n%arguments\nW=1\n", ":2:1: From: {{ V }} has no value: give it one in %arguments"},
		{"a local image without one", "Bootstrap: localimage\n", ":1:1: a stage with 'Bootstrap: localimage' needs 'From:'"},
		{"no mirror", "Bootstrap: debootstrap\nOSVersion: jammy\n", ":1:1: a stage with 'Bootstrap: debootstrap' needs 'MirrorURL:'"},
		{"no reference", "Bootstrap: docker\nFrom: A b\n", ":2:1: From: could not parse reference: A b"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, errs := load(t, map[string]string{"container_definitions/amd64/x.def": tt.text})
			if got, want := errs.Error(), "container_definitions/amd64/x.def"+tt.want; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func FuzzReadApptainer(f *testing.F) {
	for _, seed := range []string{"Bootstrap: docker\nFrom: a/b:1\n", "bootstrap: library\n%post\nx\nBootstrap: docker\nfrom: h:1/b@" + digest, "From: x", "Bootstrap:\r\n%"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d := Definition{Name: "x", Kind: Apptainer}
		p := &problems{path: "x.def"}
		readApptainer(p, fstest.MapFS{}, []byte(text), &d)
		lines := strings.Count(text, "\n") + 1
		for _, err := range p.found {
			if err.Line < 1 || err.Line > lines {
				t.Errorf("%v is outside of the %d lines", err, lines)
			}
		}
		if version, err := d.ImageVersion(); len(p.found) == 0 && err == nil && (version == "" || strings.ContainsAny(version, " :/@\n")) {
			t.Errorf("version %q of %q", version, text)
		}
	})
}
