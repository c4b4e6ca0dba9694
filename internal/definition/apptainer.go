package definition

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/openbraininstitute/spacktainers/internal/suggest"
)

// agents are Apptainer's bootstrap agents, and the header keys that each one needs.
var agents = map[string][]string{
	"docker": {"from"}, "oras": {"from"}, // from an image, or an artifact, of a registry
	"library": {"from"}, "shub": {"from"}, "docker-daemon": {"from"},
	"docker-archive": {"from"}, "oci": {"from"}, "oci-archive": {"from"}, "localimage": {"from"},
	"debootstrap": {"osversion", "mirrorurl"}, "yum": {"mirrorurl"}, "dnf": {"mirrorurl"}, "busybox": {"mirrorurl"},
	"zypper": nil, "arch": nil, "scratch": nil,
}

// A Stage is the header of one stage of an Apptainer definition file.
type Stage struct {
	Agent string // docker, library, ...; in small letters

	values    map[string]string // by lower-case key
	lines     map[string]int
	arguments map[string]string // of %arguments: what {{ NAME }} stands for
}

// Stages reads the headers of a definition file as Apptainer does: each
// Bootstrap begins a stage, wherever it stands, and its header lasts until the
// first section.
func Stages(text []byte) (stages []Stage) {
	section := "none"
	for i, line := range strings.Split(string(text), "\n") {
		if words := strings.Fields(line); len(words) > 0 && strings.HasPrefix(words[0], "%") {
			section = words[0]
			continue
		}
		line, _, _ = strings.Cut(" "+line, " #")
		key, value, ok := strings.Cut(line, ":")
		key, value = strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(value)
		switch {
		case ok && key == "bootstrap":
			section = ""
			stages = append(stages, Stage{Agent: strings.ToLower(value), values: map[string]string{}, lines: map[string]int{}, arguments: map[string]string{}})
			fallthrough
		case ok && section == "" && !strings.HasPrefix(key, "#"):
			last := stages[len(stages)-1]
			last.values[key], last.lines[key] = value, i+1
		case section == "%arguments" && len(stages) > 0:
			if name, value, ok := strings.Cut(line, "="); ok {
				stages[len(stages)-1].arguments[strings.TrimSpace(name)] = strings.TrimSpace(value)
			}
		}
	}
	return stages
}

// Image is what a stage starts from, with the registry and the namespace that
// may stand in keys of their own.
func (s Stage) Image() string {
	var parts []string
	for _, key := range []string{"registry", "namespace", "from"} {
		if value := strings.Trim(s.value(key), "/"); value != "" {
			parts = append(parts, value)
		}
	}
	return strings.Join(parts, "/")
}

// ofRegistry reports whether the stage starts from what a registry has.
func (s Stage) ofRegistry() bool { return s.Agent == "docker" || s.Agent == "oras" }

// WithImage returns a definition file's text with another image in the place of
// that of a stage.
func (s Stage) WithImage(text, image string) string {
	lines := strings.Split(text, "\n")
	for _, key := range []string{"registry", "namespace"} {
		if n := s.lines[key]; n > 0 {
			lines[n-1] = "#"
		}
	}
	lines[s.lines["from"]-1] = "From: " + image
	return strings.Join(lines, "\n")
}

var templateVariable = regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`)

// value is that of a key, with its variables replaced by the defaults of
// %arguments. One without a default stays.
func (s Stage) value(key string) string {
	return templateVariable.ReplaceAllStringFunc(s.values[key], func(found string) string {
		if value, ok := s.arguments[templateVariable.FindStringSubmatch(found)[1]]; ok {
			return value
		}
		return found
	})
}

// readApptainer reads a definition file into d. The final stage counts: it is
// what ships, the others only lend it files.
func readApptainer(p *problems, fsys fs.FS, data []byte, d *Definition) {
	stages := Stages(data)
	if len(stages) == 0 {
		p.add(1, 1, "no Bootstrap: begin with 'Bootstrap: docker' and 'From: IMAGE:TAG'")
		return
	}
	for _, s := range stages {
		s.check(p)
		d.Bootstrap, d.From, d.OSVersion = s.Agent, s.Image(), s.value("osversion")
	}
	checkHost(p, fsys, data, stages)
}

func (s Stage) check(p *problems) {
	needs, known := agents[s.Agent]
	if s.Agent == "" {
		p.add(s.lines["bootstrap"], 1, "Bootstrap names no agent: write 'Bootstrap: docker'")
		return
	}
	if !known {
		p.add(s.lines["bootstrap"], 1, "Apptainer has no bootstrap agent %q: %s", s.Agent, suggest.Hint(s.Agent, slices.Sorted(maps.Keys(agents))))
		return
	}
	for _, key := range needs {
		switch value := s.value(key); {
		case value == "" && s.ofRegistry():
			p.add(cmp.Or(s.lines[key], s.lines["bootstrap"]), 1, "no image: a stage with 'Bootstrap: %s' needs 'From: IMAGE:TAG'", s.Agent)
			return
		case value == "":
			p.add(cmp.Or(s.lines[key], s.lines["bootstrap"]), 1, "a stage with 'Bootstrap: %s' needs '%s:'", s.Agent, headerNames[key])
			return
		case templateVariable.MatchString(value):
			p.add(s.lines[key], 1, "%s: %s has no value: give it one in %%arguments", headerNames[key], templateVariable.FindString(value))
			return
		}
	}
	if s.ofRegistry() {
		if _, err := imageVersion(s.Image()); err != nil {
			p.add(s.lines["from"], 1, "From: %v", err)
		}
	}
}

// headerNames are keys of headers as people write them.
var headerNames = map[string]string{"from": "From", "osversion": "OSVersion", "mirrorurl": "MirrorURL"}

// ImageVersion returns the version of a container that is converted from an
// image: its tag, the beginning of its digest if it has only that, the version
// of the system that is installed, or latest.
func (d Definition) ImageVersion() (string, error) {
	if d.Kind != Apptainer {
		return "", fmt.Errorf("version of %s: it is no Apptainer definition", d.Name)
	}
	if d.Bootstrap != "docker" && d.Bootstrap != "oras" {
		tag := ""
		if i := strings.LastIndexByte(d.From, ':'); i >= 0 && !strings.Contains(d.From[i:], "/") && slices.Contains([]string{"library", "shub", "docker-daemon"}, d.Bootstrap) {
			tag = d.From[i+1:]
		}
		for _, version := range []string{tag, d.OSVersion} {
			if plainVersion.MatchString(version) {
				return version, nil
			}
		}
		return name.DefaultTag, nil
	}
	version, err := imageVersion(d.From)
	if err != nil {
		return "", fmt.Errorf("version of %s: %w", d.Name, err)
	}
	return version, nil
}

var plainVersion = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

func imageVersion(image string) (string, error) {
	if _, err := name.ParseReference(image); err != nil {
		return "", err
	}
	tagged, digest, byDigest := strings.Cut(image, "@")
	tag, err := name.NewTag(tagged, name.WithDefaultTag(""))
	switch {
	case err != nil:
		return "", err
	case tag.TagStr() != "":
		return tag.TagStr(), nil
	case byDigest:
		algorithm, hex, _ := strings.Cut(digest, ":")
		return algorithm + "-" + hex[:min(12, len(hex))], nil
	}
	return name.DefaultTag, nil
}
