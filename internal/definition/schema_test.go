package definition

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// spackSchema is what Spack publishes of its environments.
const spackSchema = "https://raw.githubusercontent.com/spack/schemas/refs/heads/main/schemas/spack.json"

// compiled is schemas/definition.json, with something in the place of Spack's.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	if err := c.AddResource(spackSchema, map[string]any{"properties": map[string]any{"spack": map[string]any{"type": "object"}}}); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("../../schemas/definition.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func TestTheSchemaHasTheKeysOfADefinition(t *testing.T) {
	text, err := os.ReadFile("../../schemas/definition.json")
	if err != nil {
		t.Fatal(err)
	}
	type object struct {
		Properties map[string]json.RawMessage
	}
	var top, spacktainer object
	if err := json.Unmarshal(text, &top); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(top.Properties["spacktainer"], &spacktainer); err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(top.Properties)); !slices.Equal(got, slices.Sorted(slices.Values(topKeys))) {
		t.Errorf("got %v, want %v", got, topKeys)
	}
	if got := slices.Sorted(maps.Keys(spacktainer.Properties)); !slices.Equal(got, spacktainerKeys) {
		t.Errorf("got %v, want %v", got, spacktainerKeys)
	}
}

func TestShippedDefinitionsAreValidByTheSchema(t *testing.T) {
	schema := compiled(t)
	n := 0
	err := filepath.WalkDir("../../container_definitions", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".yaml" || strings.HasPrefix(d.Name(), "_") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		n++
		if err := validate(t, schema, text); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		return nil
	})
	if err != nil || n < 10 {
		t.Errorf("%d definitions, %v", n, err)
	}
	for _, text := range []string{
		"specs: [a]", "spack: {specs: [a]}\nspacktainr: {}", "spack: {specs: [a]}\nspacktainer: {strip: maybe}", "spack: {specs: [a]}\nspacktainer: {files: [a]}",
		"spack: {specs: [a]}\nspacktainer: {env: {A=B: x}}", "spack: {specs: [a]}\nspacktainer: {test: x}", "spacktainer: {}",
	} {
		if err := validate(t, schema, []byte(text)); err == nil {
			t.Errorf("the schema takes %s", text)
		}
	}
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
	if value, err = jsonschema.UnmarshalJSON(bytes.NewReader(asJSON)); err != nil {
		t.Fatal(err)
	}
	return schema.Validate(value)
}
