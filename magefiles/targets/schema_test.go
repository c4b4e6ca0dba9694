package targets

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/openbraininstitute/spacktainers/internal/scaffold"
)

// schemaURL is where editors find schemas/NAME of this module.
const schemaURL = "https://raw.githubusercontent.com/openbraininstitute/spacktainers/main/schemas/"

// schemas/spacktainers.json is made from the Go types of the configuration.
func TestTheSchemaPageIsThatOfTheConfiguration(t *testing.T) {
	schema := schemaOf(fieldComments{}, reflect.TypeFor[Config](), "")
	schema["$schema"], schema["$id"] = "http://json-schema.org/draft-07/schema#", schemaURL+"spacktainers.json"
	schema["title"] = "spacktainers.yaml"
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(schema); err != nil {
		t.Fatal(err)
	}
	generated(t, "schemas/spacktainers.json", b.Bytes())
}

// schemaOf is the schema of a type as yamlstrict reads it.
func schemaOf(comments fieldComments, kind reflect.Type, comment string) map[string]any {
	schema := map[string]any{}
	if comment != "" {
		schema["description"] = strings.ReplaceAll(comment, `\|`, "|")
	}
	switch {
	case kind == reflect.TypeFor[Host]():
		jobs := map[string]any{"type": "integer", "minimum": 1, "maximum": maxJobs}
		schema["anyOf"] = []any{map[string]any{"type": "string"},
			map[string]any{"type": "object", "additionalProperties": false, "properties": map[string]any{"url": map[string]any{"type": "string"}, "jobs": jobs}}}
		return schema
	case reflect.PointerTo(kind).Implements(reflect.TypeFor[yaml.Unmarshaler]()): // 90d, 20GB, 0
		schema["type"] = []string{"string", "number"}
		if kind == reflect.TypeFor[Duration]() {
			schema["pattern"] = `^([0-9]+(\.[0-9]+)?(d|h|m|s|ms))+$|^0$`
		}
		return schema
	}
	switch kind.Kind() {
	case reflect.Pointer:
		return schemaOf(comments, kind.Elem(), comment)
	case reflect.Struct:
		properties := map[string]any{}
		for i := range kind.NumField() {
			f := kind.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			properties[name] = schemaOf(comments, f.Type, comments.of(kind, f.Name))
		}
		if kind == reflect.TypeFor[Config]() {
			properties["platforms"].(map[string]any)["propertyNames"] = map[string]any{"enum": []string{"linux/amd64", "linux/arm64"}}
		}
		schema["type"], schema["properties"], schema["additionalProperties"] = "object", properties, false
	case reflect.Slice:
		schema["type"], schema["items"] = "array", schemaOf(comments, kind.Elem(), "")
	case reflect.Map:
		schema["type"], schema["additionalProperties"] = "object", schemaOf(comments, kind.Elem(), "")
	case reflect.Bool:
		schema["type"] = "boolean"
	case reflect.Int, reflect.Int64:
		schema["type"] = "integer"
	case reflect.Float64:
		schema["type"] = "number"
	default:
		schema["type"] = "string"
	}
	return schema
}

// configSchema is the shipped schema, ready to validate.
func configSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile(filepath.Join(repository, "schemas", "spacktainers.json"))
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func validate(t *testing.T, schema *jsonschema.Schema, text []byte) error {
	t.Helper()
	var value any
	if err := yaml.Unmarshal(text, &value); err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	value, err = jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(value)
}

func TestTheSchemaTakesWhatTheTargetsTake(t *testing.T) {
	schema := configSchema(t)
	shipped, err := os.ReadFile(filepath.Join(repository, ConfigFile))
	if err != nil {
		t.Fatal(err)
	}
	if line, _, _ := bytes.Cut(shipped, []byte("\n")); string(line) != "# yaml-language-server: $schema=schemas/spacktainers.json" {
		t.Errorf("an editor finds no schema by %q", line)
	}
	good := map[string][]byte{"shipped": shipped, "empty": []byte("{}"),
		"all": []byte("janitor: {max_age: 90d, grace: 0, wait: 1.5d, max_fraction: 0.5, keep_last: 2}\nplatforms: {linux/amd64: {anonymous: true, hosts: [local], janitor: {max_age: 30d}}}\n")}
	files, err := scaffold.Site{Module: "a", Version: "v1", Tool: modulePath, Arch: "amd64", CI: "none"}.Files()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Path == ConfigFile {
			good["of init"] = f.Text
			if !bytes.Contains(f.Text, []byte("# yaml-language-server: $schema="+schemaURL+"spacktainers.json\n")) {
				t.Error("an editor finds no schema for the configuration of init")
			}
		}
	}
	for name, text := range good {
		if err := validate(t, schema, text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := loadText(t, text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range []string{"spak: {}", "platforms: {linux/riscv64: {}}", "registries: [{prefx: a}]", "janitor: {max_age: soon}", "janitor: {keep_last: many}"} {
		if err := validate(t, schema, []byte(text)); err == nil {
			t.Errorf("the schema takes %s", text)
		}
		if _, err := loadText(t, []byte(text)); err == nil {
			t.Errorf("the targets take %s", text)
		}
	}
}

func loadText(t *testing.T, text []byte) (Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), ConfigFile)
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return loadConfig(path)
}
