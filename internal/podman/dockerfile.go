package podman

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"text/template"

	"github.com/openbraininstitute/spacktainers/internal/views"
)

var (
	//go:embed container.Dockerfile
	containerText string
	//go:embed lock.Dockerfile
	lockText string

	containerTemplate = template.Must(template.New("container.Dockerfile").Parse(containerText))
	lockTemplate      = template.Must(template.New("lock.Dockerfile").Parse(lockText))
)

// dockerfile is what the templates are filled with.
type dockerfile struct {
	Name, Platform   string
	Builder, Runtime ID
	Programs         string   // a folder that goes first on PATH; empty: the runtime's PATH has it
	Copies           []string // arguments of COPY
	Env              []string // arguments of ENV
	Epilogue         string
}

func (c Container) dockerfile(t *template.Template, builder, runtime ID) []byte {
	d := dockerfile{Name: c.Name, Platform: c.Platform, Builder: builder, Runtime: runtime, Epilogue: strings.TrimSpace(string(c.Epilogue))}
	if folder := c.programs(); folder != runtimePrograms {
		d.Programs = quoted(folder)
	}
	for i, f := range c.Files {
		d.Copies = append(d.Copies, jsonWords(copied(i), f.Target))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		d.Env = append(d.Env, name+"="+quoted(c.Env[name]))
	}
	var b bytes.Buffer
	if err := t.Execute(&b, d); err != nil {
		panic(err) // the template is ours, and a buffer takes everything
	}
	return b.Bytes()
}

// Where programs are: those of the view that an environment has by itself, which the runtime has on
// PATH, and those of the roots in a container without a default view, where the builder puts links
// to them.
const (
	runtimePrograms = "/opt/view/bin"
	linkedPrograms  = "/opt/spack-environment/bin"
)

// programs is the folder in which a container's programs are found.
func (c Container) programs() string {
	if root, ok := views.DefaultRoot(c.Spack, path.Dir(runtimePrograms)); ok {
		return path.Join(root, "bin")
	}
	return linkedPrograms
}

// copied is where the context has what the container gets as its file number i.
func copied(i int) string { return fmt.Sprintf("files/%d", i) }

// jsonWords is an instruction's list of words, in which spaces need no care, but variables are
// replaced.
func jsonWords(words ...string) string {
	for i, w := range words {
		words[i] = strings.NewReplacer(`\`, `\\`, "$", `\$`).Replace(w)
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(words); err != nil {
		panic(err) // strings are always JSON
	}
	return strings.TrimSpace(b.String())
}

// quoted is a word in which nothing is replaced.
func quoted(value string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "\n", `\n`).Replace(value) + `"`
}
