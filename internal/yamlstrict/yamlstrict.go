// Package yamlstrict decodes YAML that people write: a key that is not known,
// a value of the wrong kind and a key given twice are errors, all of them at
// once, each with its place in the file and, for a key, the near names.
package yamlstrict

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/openbraininstitute/spacktainers/internal/suggest"
)

// A Mistake is an error in a file.
type Mistake struct {
	Path    string `json:"path"`
	Line    int    `json:"line,omitempty"`   // from 1; 0 where the mistake is in no line
	Column  int    `json:"column,omitempty"` // from 1; 0 where only the line is known
	Message string `json:"message"`
}

func (e *Mistake) Error() string {
	switch {
	case e.Line == 0:
		return e.Path + ": " + e.Message
	case e.Column == 0:
		return fmt.Sprintf("%s:%d: %s", e.Path, e.Line, e.Message)
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.Path, e.Line, e.Column, e.Message)
}

// Decode reads data, the one YAML document of the file at path, into the
// struct that v points to. Fields are named by their yaml tag. The error joins
// one *Mistake for each mistake, in the order of the file. An empty document
// leaves v as it is.
func Decode(path string, data []byte, v any) error {
	if mistake := Encoding(path, data); mistake != nil {
		return mistake
	}
	reader := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	if err := reader.Decode(&document); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		return Syntax(path, data, err)
	}
	d := decoder{path: path}
	d.decode(document.Content[0], reflect.ValueOf(v).Elem())
	if err := reader.Decode(&second); err == nil {
		d.fail(&second, "a second YAML document: this file has one")
	} else if !errors.Is(err, io.EOF) {
		d.errs = append(d.errs, Syntax(path, data, err))
	}
	return errors.Join(d.errs...)
}

// Find returns the key and the value that keys lead to in data, which Decode
// has read; the entries of a list go by their number. What is not there is
// nowhere, in line 0.
func Find(data []byte, keys ...string) (key, value *yaml.Node) {
	var document yaml.Node
	if yaml.Unmarshal(data, &document) != nil || len(document.Content) == 0 {
		return &yaml.Node{}, &yaml.Node{}
	}
	key, value = &document, document.Content[0]
	for _, name := range keys {
		if key, value = child(value, name); value == nil {
			return &yaml.Node{}, &yaml.Node{}
		}
	}
	return key, value
}

func child(node *yaml.Node, name string) (key, value *yaml.Node) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	for i, c := range node.Content {
		switch {
		case node.Kind == yaml.SequenceNode && strconv.Itoa(i) == name:
			return c, c
		case node.Kind == yaml.MappingNode && i%2 == 0 && c.Value == name:
			return c, node.Content[i+1]
		}
	}
	return nil, nil
}

type decoder struct {
	path string
	errs []error
}

func (d *decoder) fail(at *yaml.Node, format string, args ...any) {
	d.errs = append(d.errs, &Mistake{Path: d.path, Line: at.Line, Column: at.Column, Message: fmt.Sprintf(format, args...)})
}

func (d *decoder) decode(node *yaml.Node, into reflect.Value) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if _, ok := into.Addr().Interface().(yaml.Unmarshaler); ok {
		d.scalar(node, into)
		return
	}
	switch into.Kind() {
	case reflect.Struct:
		d.structure(node, into)
	case reflect.Map:
		d.mapping(node, into)
	case reflect.Slice:
		d.sequence(node, into)
	default:
		d.scalar(node, into)
	}
}

func (d *decoder) structure(node *yaml.Node, into reflect.Value) {
	d.pairs(node, func(key, value *yaml.Node) {
		var names []string
		for i := range into.NumField() {
			name, _, _ := strings.Cut(into.Type().Field(i).Tag.Get("yaml"), ",")
			if name == key.Value {
				d.decode(value, into.Field(i))
				return
			}
			names = append(names, name)
		}
		d.unknown(key, names)
	})
}

func (d *decoder) mapping(node *yaml.Node, into reflect.Value) {
	if into.IsNil() {
		into.Set(reflect.MakeMap(into.Type()))
	}
	d.pairs(node, func(key, value *yaml.Node) {
		name := reflect.ValueOf(key.Value).Convert(into.Type().Key())
		element := reflect.New(into.Type().Elem()).Elem()
		if before := into.MapIndex(name); before.IsValid() {
			element.Set(before) // what the file does not mention keeps its default
		}
		d.decode(value, element)
		into.SetMapIndex(name, element)
	})
}

// sequence replaces what the slice holds: a list in a file overrides the default.
func (d *decoder) sequence(node *yaml.Node, into reflect.Value) {
	if isNull(node) {
		return
	}
	if node.Kind != yaml.SequenceNode {
		d.fail(node, "want a list, found %s", kind(node))
		return
	}
	list := reflect.MakeSlice(into.Type(), len(node.Content), len(node.Content))
	for i, element := range node.Content {
		if isNull(element) {
			d.fail(element, "an entry of the list is empty")
			continue
		}
		d.decode(element, list.Index(i))
	}
	into.Set(list)
}

func (d *decoder) scalar(node *yaml.Node, into reflect.Value) {
	err := node.Decode(into.Addr().Interface())
	var typeError *yaml.TypeError
	switch {
	case errors.As(err, &typeError):
		d.fail(node, "want a %s, found %s %q", into.Kind(), kind(node), node.Value)
	case err != nil:
		d.fail(node, "%v", err)
	}
}

// pairs calls each for the keys of a mapping; a key given twice is an error.
func (d *decoder) pairs(node *yaml.Node, each func(key, value *yaml.Node)) {
	if isNull(node) {
		return
	}
	if node.Kind != yaml.MappingNode {
		d.fail(node, "want keys and values, found %s", kind(node))
		return
	}
	var seen []string
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if key.Tag == "!!merge" {
			d.fail(key, "%q is not read here: write out the keys that it would merge", key.Value)
			continue
		}
		if slices.Contains(seen, key.Value) {
			d.fail(key, "key %q is given twice", key.Value)
			continue
		}
		seen = append(seen, key.Value)
		each(key, value)
	}
}

func (d *decoder) unknown(key *yaml.Node, known []string) {
	d.fail(key, "unknown key %q: %s", key.Value, suggest.Hint(key.Value, known))
}

// isNull is true of "key:" with nothing behind it, which leaves the default.
func isNull(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.Tag == "!!null" }

func kind(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "keys and values"
	case yaml.SequenceNode:
		return "a list"
	}
	return "the value"
}
