package targets

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/internal/definition"
	"github.com/openbraininstitute/spacktainers/internal/doctor"
	"github.com/openbraininstitute/spacktainers/internal/inspect"
	"github.com/openbraininstitute/spacktainers/internal/pipeline"
	"github.com/openbraininstitute/spacktainers/internal/pipeline/gitlabapi"
	"github.com/openbraininstitute/spacktainers/internal/podman"
	"github.com/openbraininstitute/spacktainers/internal/publish"
	"github.com/openbraininstitute/spacktainers/internal/release"
	"github.com/openbraininstitute/spacktainers/internal/sifstore"
	"github.com/openbraininstitute/spacktainers/janitor"
)

// A plan writes itself, as this would be written.
type planDocument struct {
	janitor.Head
	Specs   []janitor.Condemned `json:"specs"`   // that are condemned or have come back
	Orphans []janitor.Condemned `json:"orphans"` // objects that belong to no spec
	Delete  []janitor.Deletion  `json:"delete"`  // objects that are deleted now
	Keep    []janitor.Kept      `json:"keep"`
}

type prunedDocument struct {
	Mirror string          `json:"mirror"`
	Plan   planDocument    `json:"plan"`
	Result *janitor.Result `json:"result,omitempty"` // of a plan that was applied
}

// results are the types of what targets print with --json: result in the document.
var results = []struct {
	targets string // by commas
	note    string
	result  any
}{
	{"containers:list", "", []listedContainer{}},
	{"containers:check", "The mistakes; with one there is an error too.", definition.Errors{}},
	{"containers:plan", "", []plannedContainer{}},
	{"containers,containers:build", "With `--engine=podman`; `result` is the outcome.", []podman.Result{}},
	{"containers:build", "With `--engine=assemble`.", []shownImage{}},
	{"containers:show", "", []inspect.Shown{}},
	{"containers:diff", "", []inspect.Diff{}},
	{"containers:why-miss", "", []whyMissed{}},
	{"base,base:build", "", []builtBase{}},
	{"publish,publish:container,publish:promote", "", []publishedContainer{}},
	{"publish:base", "", []publishedBaseImage{}},
	{"publish:verify", "", []verifiedImage{}},
	{"publish:clean", "", []publish.Cleaning{}},
	{"sif:build", "", []shownSIF{}},
	{"sif,sif:upload,sif:install", "", []sentSIF{}},
	{"sif:clean", "", []sifstore.CleanLine{}},
	{"janitor:prune,janitor:purge", "One for each mirror.", []prunedDocument{}},
	{"janitor:why", "One for each mirror.", []explained{}},
	{"janitor:spare", "One for each mirror.", []sparedMirror{}},
	{"janitor:roots", "One for each mirror.", []rootSets{}},
	{"janitor:report", "One for each mirror.", []reported{}},
	{"janitor:verify", "One for each mirror.", []verified{}},
	{"janitor:migrate", "One for each mirror: `runs` where they are listed, `result` where something was done.", []migrated{}},
	{"janitor:simulate", "", simulated{}},
	{"ci:plan", "", pipeline.Graph{}},
	{"ci:gitlab,ci:split", "", []writtenPipeline{}},
	{"ci:gather", "", []gitlabapi.Job{}},
	{"ci:package", "", []podman.PackageResult{}},
	{"doctor", "", []doctor.Finding{}},
	{"release", "", []release.File{}},
	{"version", "", buildVersion{}},
}

func TestEachJSONIsDocumented(t *testing.T) {
	var documented []string
	for _, r := range results {
		documented = append(documented, strings.Split(r.targets, ",")...)
	}
	for _, sig := range signatures() {
		if _, ok := sig.flags["json"]; ok && !slices.Contains(documented, sig.name) {
			t.Errorf("%s prints JSON that docs/json.md does not know: add its type to results", sig.name)
		}
	}
	sigs := signatures()
	for _, name := range documented {
		if sig, ok := sigs[asTarget(name)]; !ok {
			t.Errorf("%s is no target", name)
		} else if _, ok := sig.flags["json"]; !ok {
			t.Errorf("%s has no --json", name)
		}
	}
}

// docs/json.md is made from the types; its examples are what the targets print.
func TestTheJSONPageIsWhatTheTargetsPrint(t *testing.T) {
	generated(t, "docs/json.md", jsonPage(t))
}

// generated holds a file of the repository against what it should be, or writes it.
func generated(t *testing.T, name string, want []byte) {
	t.Helper()
	path := filepath.Join(repository, name)
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not what it would be now: go test ./magefiles/targets -run Page -update (%v)", name, err)
	}
}

// repository is the root of this module.
var repository = func() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return dir
}()

func jsonPage(t *testing.T) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `# What --json prints

Each call of a target with `+"`--json`"+` prints one JSON document on standard output, whatever the number of containers or mirrors, and
also where it fails. Everything else goes to standard error. (This page is made from the Go types; its examples are what the
suite's runs have printed.)

| field | |
| --- | --- |
| `+"`schema`"+` | version of the documents, now %d: it counts up where a field changes its meaning or goes; fields may be added without |
| `+"`result`"+` | what is described below; null where there was nothing to do, or the target failed before it had a result |
| `+"`error`"+` | only where the target failed: `+"`message`, as on standard error, and `status`, the exit status: 1 failed, 2 wrong call, 130 interrupted"+` |

The same word stands for the same thing: `+"`name`"+` of a container or package, `+"`bytes`"+` for sizes, `+"`digest`"+` with its algorithm, as
`+"`sha256:…`, `hash`"+` of a Spack spec, `+"`platform`"+` as `+"`linux/amd64`"+`. Lists are in a stable order. Times are RFC 3339. Fields with a * may be missing.
Files beside images and SIFs, and plans in `+"`out/janitor`"+`, are formats of their own.
`, documentSchema)
	shown := examples(t)
	comments := fieldComments{}
	for _, r := range results {
		var names []string
		for _, name := range strings.Split(r.targets, ",") {
			names = append(names, "`"+name+"`")
		}
		fmt.Fprintf(&b, "\n## %s\n\n", strings.Join(names, ", "))
		if r.note != "" {
			fmt.Fprintf(&b, "%s\n\n", r.note)
		}
		kind := reflect.TypeOf(r.result)
		if kind.Kind() == reflect.Slice {
			kind = kind.Elem()
			b.WriteString("A list of:\n\n")
		}
		b.WriteString("| field | type | |\n| --- | --- | --- |\n")
		for _, f := range describe(comments, kind, "", 0) {
			fmt.Fprintf(&b, "| `%s`%s | %s | %s |\n", f.path, f.optional, f.kind, f.comment)
		}
		for _, example := range shown[r.targets] {
			fmt.Fprintf(&b, "\n```\n%s```\n", example)
			shown[r.targets] = nil
		}
	}
	fmt.Fprintf(&b, "\n## A failure\n\n```\n%s```\n", shown["error"][0])
	return b.Bytes()
}

// examples are calls and what they print.
func examples(t *testing.T) map[string][]string {
	t.Helper()
	dir := t.TempDir()
	caches := filepath.Join(repository, "testdata", "spack")
	for _, from := range []string{"testdata/quickstart"} {
		if err := os.CopyFS(dir, os.DirFS(filepath.Join(repository, from))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(dir, "cache"), os.DirFS(filepath.Join(caches, "v3-signed", "cache"))); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	t.Setenv("AWS_CACHE_ACCESS_KEY_ID", "")
	shown := map[string][]string{}
	theDocument.asked = true
	t.Cleanup(func() { theDocument = document{} })
	run := func(of, line string) {
		args, err := rewrite(strings.Fields(line), signatures())
		if err != nil {
			t.Fatal(err)
		}
		text, _ := printed(t, func() error { return calls(args, signatures())[0].run(t.Context()) })
		var document struct {
			Schema int
			Result any
			Error  *documentError
		}
		if err := json.Unmarshal([]byte(text), &document); err != nil || document.Schema != documentSchema || document.Result == nil && document.Error == nil {
			t.Fatalf("%s: %v\n%s", line, err, text)
		}
		shown[of] = append(shown[of], "$ mage "+line+"\n"+settled.ReplaceAllString(text, "2026-01-01T00:00:00Z"))
	}
	run("containers:list", "containers:list --json")
	run("containers:build", "containers:build hello-spack --mirror=cache --base=scratch --json")
	lock := "container_definitions/amd64/hello-spack/spack.lock"
	run("janitor:why", "janitor:why qs-tls --mirror=cache --lock="+lock+" --max-age=0 --grace=0 --keep-last=0 --json")
	run("janitor:verify", "janitor:verify --mirror=cache --json")
	if err := os.WriteFile("container_definitions/amd64/broken.yaml", []byte("spack:\n  spec: [hello]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	run("containers:check", "containers:check --json")
	run("error", "containers:build helo-spack --json")
	return shown
}

// settled are the times in examples, which are of today.
var settled = regexp.MustCompile(`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`)

// A field is one of a document.
type field struct{ path, optional, kind, comment string }

// describe lists the fields of a type as encoding/json writes them.
func describe(comments fieldComments, kind reflect.Type, prefix string, depth int) (fields []field) {
	if kind.Kind() == reflect.Pointer {
		return describe(comments, kind.Elem(), prefix, depth)
	}
	hidden := map[string]bool{} // by a field of the same name further out
	for i := range kind.NumField() {
		if name, _, _ := strings.Cut(kind.Field(i).Tag.Get("json"), ","); name != "" && !kind.Field(i).Anonymous {
			hidden[name] = true
		}
	}
	for i := range kind.NumField() {
		f := kind.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-":
			continue
		case f.Anonymous && name == "":
			for _, inner := range describe(comments, f.Type, prefix, depth) {
				if first, _, _ := strings.Cut(strings.TrimPrefix(inner.path, prefix), "."); !hidden[strings.TrimSuffix(first, "[]")] {
					fields = append(fields, inner)
				}
			}
			continue
		case !f.IsExported() || f.Type == reflect.TypeFor[*struct{}](): // shadows another one
			continue
		}
		if name == "" {
			name = f.Name
		}
		one := field{path: prefix + name, comment: comments.of(kind, f.Name)}
		if strings.Contains(options, "omit") {
			one.optional = "*"
		}
		element, list := f.Type, ""
		for element.Kind() == reflect.Slice || element.Kind() == reflect.Pointer {
			if element.Kind() == reflect.Slice {
				list += "[]"
			}
			element = element.Elem()
		}
		one.kind = kindName(element)
		isObject := element.Kind() == reflect.Struct && one.kind == "object"
		if list != "" {
			one.kind = "list of " + one.kind
		}
		fields = append(fields, one)
		if isObject && depth < 4 {
			fields = append(fields, describe(comments, element, one.path+list+".", depth+1)...)
		}
	}
	return fields
}

// kindName is a type in the words of JSON.
func kindName(kind reflect.Type) string {
	switch {
	case kind == reflect.TypeFor[time.Time]():
		return "time"
	case kind == reflect.TypeFor[v1.Hash]():
		return "digest"
	case kind == reflect.TypeFor[time.Duration]():
		return "nanoseconds"
	case kind.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return "text"
	}
	switch kind.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64, reflect.Uint32, reflect.Float64:
		return "number"
	case reflect.Map:
		return "object"
	}
	return "object"
}

// fieldComments are those at the ends of the lines of fields, by package, type and field.
type fieldComments map[string]map[string]string

func (c fieldComments) of(kind reflect.Type, name string) string {
	folder, ours := strings.CutPrefix(kind.PkgPath(), modulePath+"/")
	if !ours {
		return ""
	}
	if c[folder] == nil {
		c[folder] = map[string]string{}
		files, err := filepath.Glob(filepath.Join(repository, folder, "*.go"))
		if err != nil {
			panic(err)
		}
		for _, file := range files {
			p, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
			if err != nil {
				panic(err)
			}
			ast.Inspect(p, func(n ast.Node) bool {
				spec, ok := n.(*ast.TypeSpec)
				if !ok {
					return true
				}
				if body, ok := spec.Type.(*ast.StructType); ok {
					for _, f := range body.Fields.List {
						for _, id := range f.Names {
							c[folder][spec.Name.Name+"."+id.Name] = strings.ReplaceAll(strings.Join(strings.Fields(f.Comment.Text()), " "), "|", `\|`)
						}
					}
				}
				return true
			})
		}
	}
	return c[folder][kind.Name()+"."+name]
}
