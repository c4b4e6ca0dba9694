package buildcache

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// decode reads the one JSON document that data holds into v. It refuses what
// two readers could understand differently: text after the document, and an
// object that has the same key twice.
func decode(data []byte, v any) error {
	var wrong *json.UnmarshalTypeError
	if err := json.Unmarshal(data, v); errors.As(err, &wrong) {
		return fmt.Errorf("%w: %s", ErrFormat, inWords(wrong))
	} else if err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if key, ok := repeatedKey(data); ok {
		return fmt.Errorf("%w: an object has the key %q twice", ErrFormat, key)
	}
	return nil
}

// inWords says what was found where something else belongs, in JSON's words
// and not in those of this package's types.
func inWords(e *json.UnmarshalTypeError) string {
	want := map[reflect.Kind]string{
		reflect.Struct: "an object", reflect.Map: "an object", reflect.Slice: "an array",
		reflect.String: "a string", reflect.Bool: "true or false",
	}[e.Type.Kind()]
	if want == "" {
		want = "a whole number"
	}
	found, _, _ := strings.Cut(e.Value, " ") // "number 1.5"
	if found == "array" || found == "object" {
		found = "an " + found
	} else {
		found = "a " + found
	}
	text := fmt.Sprintf("want %s, found %s", want, found)
	if e.Field == "" {
		return text
	}
	return strings.TrimPrefix(e.Field, "environment.") + ": " + text // lockfile embeds that
}

// repeatedKey looks for an object with the same key twice. data is valid JSON.
func repeatedKey(data []byte) (string, bool) {
	type level struct {
		keys  map[string]bool // nil in an array
		isKey bool            // the next string is a key
	}
	stack := []level{{}}
	for i := 0; i < len(data); i++ {
		top := &stack[len(stack)-1]
		switch data[i] {
		case '{':
			stack = append(stack, level{keys: map[string]bool{}, isKey: true})
		case '[':
			stack = append(stack, level{})
		case '}', ']':
			stack = stack[:len(stack)-1]
		case ',':
			top.isKey = top.keys != nil
		case ':':
			top.isKey = false
		case '"':
			text := data[i : i+stringLen(data[i:])]
			i += len(text) - 1
			if !top.isKey {
				continue
			}
			key := unquote(text)
			if top.keys[key] {
				return key, true
			}
			top.keys[key] = true
		}
	}
	return "", false
}

// stringLen returns the length of the JSON string that data begins with, with
// both quotes.
func stringLen(data []byte) int {
	for i := 1; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(data)
}

func unquote(text []byte) string {
	if !bytes.ContainsRune(text, '\\') {
		return string(text[1 : len(text)-1])
	}
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return string(text) // cannot be: the document was decoded
	}
	return s
}
