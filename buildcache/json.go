package buildcache

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// decode reads the one JSON document that data holds into v. It refuses text after the document,
// and what checkStrict does.
func decode(data []byte, v any) error {
	var wrong *json.UnmarshalTypeError
	if err := json.Unmarshal(data, v); errors.As(err, &wrong) {
		return fmt.Errorf("%w: %s", ErrFormat, inWords(wrong))
	} else if err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return checkStrict(data)
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
