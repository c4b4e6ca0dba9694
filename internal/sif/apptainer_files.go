package sif

import (
	"archive/tar"
	"bytes"
	"embed"
	"encoding/json"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/internal/quote"
)

// What apptainer puts into every image, as version 1.4.5 does; singularity.d/LICENSE.md is its
// licence.
//
//go:embed singularity.d/actions singularity.d/env singularity.d/startscript
var apptainerScripts embed.FS

const meta = ".singularity.d"

// apptainerFiles is what apptainer needs besides the files of the image.
type apptainerFiles struct {
	definition string            // the definition file, as if apptainer had built the image
	labels     map[string]string // of the image, and on its making
	config     v1.Config
}

func (f apptainerFiles) labelsJSON() []byte {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "\t")
	_ = encoder.Encode(f.labels) // strings cannot fail
	return bytes.TrimSuffix(text.Bytes(), []byte("\n"))
}

// addApptainerFiles puts into a tree what apptainer itself does: its scripts, the
// environment, labels, mount points, and the links of old Singularity.
func (t *tree) addApptainerFiles(f apptainerFiles) error {
	delete(t.root.children, meta) // of an image that was a SIF before
	for _, dir := range []string{meta + "/libs", meta + "/actions", meta + "/env", "dev", "proc", "root", "var/tmp", "tmp", "etc", "sys", "home"} {
		if _, err := t.folder(dir, true); err != nil {
			return err
		}
	}
	var err error
	put := func(name string, mode int64, body []byte) {
		if err == nil {
			err = t.put(name, mode, body)
		}
	}
	walk := fs.WalkDir(apptainerScripts, "singularity.d", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := apptainerScripts.ReadFile(name)
		put("."+name, 0o755, text)
		return err
	})
	if walk != nil {
		return walk
	}
	put(meta+"/runscript", 0o755, []byte(runscript(f.config)))
	put(meta+"/env/10-docker2singularity.sh", 0o755, []byte(environment(f.config.Env)))
	put(meta+"/labels.json", 0o644, f.labelsJSON())
	put(meta+"/Singularity", 0o644, []byte(f.definition))
	for _, name := range []string{"etc/hosts", "etc/resolv.conf"} { // the host's are mounted there
		if old, missing := t.find(name); missing != nil || old.kind == tar.TypeReg {
			put(name, 0o644, nil)
		}
	}
	for name, target := range map[string]string{
		"singularity": "runscript", ".run": "actions/run", ".exec": "actions/exec", ".test": "actions/test",
		".shell": "actions/shell", "environment": "env/90-environment.sh",
	} {
		if old := t.root.children[name]; old == nil || old.kind == tar.TypeSymlink {
			t.root.children[name] = &node{inode: &inode{kind: tar.TypeSymlink, header: &tar.Header{
				Typeflag: tar.TypeSymlink, Linkname: meta + "/" + target, Mode: 0o777, ModTime: time.Unix(0, 0),
			}}}
		}
	}
	return err
}

// put writes a file of ours.
func (t *tree) put(name string, mode int64, body []byte) error {
	parent, err := t.folder(path.Dir(name), true)
	if err != nil {
		return err
	}
	parent.children[path.Base(name)] = &node{inode: &inode{
		kind: tar.TypeReg, body: body,
		header: &tar.Header{Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(body)), ModTime: time.Unix(0, 0)},
	}}
	return nil
}

var variable = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// environment is the image's environment as a script. As apptainer has it, the
// caller's value wins, but for PATH.
func environment(env []string) string {
	var b strings.Builder
	b.WriteString("#!/bin/sh\n")
	for _, assignment := range env {
		name, value, given := strings.Cut(assignment, "=")
		switch {
		case !variable.MatchString(name):
		case !given:
			b.WriteString("export " + name + `="${` + name + `:-}"` + "\n")
		case name == "PATH":
			b.WriteString("export PATH=\"" + quote.InShell(value) + "\"\n")
		default:
			b.WriteString("export " + name + `="${` + name + `:-"` + quote.InShell(value) + `"}"` + "\n")
		}
	}
	return b.String()
}

// runscript starts what the image starts. It hands arguments on as they are:
// apptainer's own has a shell read them a second time, unless
// SINGULARITY_NO_EVAL is set, so that python3 -c 'print("a b")' breaks.
func runscript(config v1.Config) string {
	var b strings.Builder
	b.WriteString("#!/bin/sh\n# The arguments reach the program as they were given.\n")
	if len(config.Cmd) > 0 {
		b.WriteString("if [ $# -eq 0 ]; then\n    set -- " + quote.ShellWords(config.Cmd) + "\nfi\n")
	}
	switch {
	case len(config.Entrypoint) > 0:
		b.WriteString("exec " + quote.ShellWords(config.Entrypoint) + " \"$@\"\n")
	default:
		b.WriteString("if [ $# -eq 0 ]; then\n    set -- /bin/sh\nfi\nexec \"$@\"\n")
	}
	return b.String()
}

// inspection is what apptainer inspect shows without opening the image.
func (f apptainerFiles) inspection() ([]byte, error) {
	own, err := apptainerScripts.ReadFile("singularity.d/env/90-environment.sh")
	if err != nil {
		return nil, err
	}
	start, err := apptainerScripts.ReadFile("singularity.d/startscript")
	if err != nil {
		return nil, err
	}
	type attributes struct {
		Environment map[string]string `json:"environment,omitempty"`
		Labels      map[string]string `json:"labels,omitempty"`
		Runscript   string            `json:"runscript,omitempty"`
		Deffile     string            `json:"deffile,omitempty"`
		Startscript string            `json:"startscript,omitempty"`
	}
	return json.Marshal(map[string]any{
		"type": "container",
		"data": map[string]any{"attributes": attributes{
			Environment: map[string]string{
				"/" + meta + "/env/10-docker2singularity.sh": strings.TrimSpace(environment(f.config.Env)),
				"/" + meta + "/env/90-environment.sh":        strings.TrimSpace(string(own)),
			},
			Labels:      f.labels,
			Runscript:   strings.TrimSpace(runscript(f.config)),
			Deffile:     strings.TrimSpace(f.definition),
			Startscript: strings.TrimSpace(string(start)),
		}},
	})
}

// definitionHeader writes key: value lines as a definition file has them, sorted.
func definitionHeader(values map[string]string) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(values)) {
		b.WriteString(key + ": " + values[key] + "\n")
	}
	return b.String()
}
