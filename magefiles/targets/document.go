package targets

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// documentSchema is the version of the documents that --json prints. It counts up where a field
// changes its meaning or goes; fields may be added without.
const documentSchema = 1

// A document is what a call with --json prints on standard output: one JSON object with the schema's
// version, the result, and the error if there is one. It is written as results come, so that no
// result has to be kept.
type document struct {
	asked bool // for JSON, by the command line
	out   io.Writer
	list  bool // the result is a list of what add was given
	items int
}

// theDocument is the document of the target that runs.
var theDocument document

// A documentError is how a target failed.
type documentError struct {
	Message string `json:"message"` // as on standard error
	Status  int    `json:"status"`  // the exit status
}

// asksJSON reports whether arguments, as people write them, have --json.
func asksJSON(args []string) bool {
	return slices.ContainsFunc(args, func(arg string) bool {
		name, value, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		yes, err := strconv.ParseBool(value)
		return strings.HasPrefix(arg, "-") && name == "json" && (!hasValue || err == nil && yes)
	})
}

// JSON makes v the result of the document.
func (a *app) JSON(v any) error { return theDocument.set(a.Out, v) }

// JSON adds v to the results of the document: there is one for each mirror.
func (r janitorRun) JSON(v any) error { return theDocument.add(r.Out, v) }

func (d *document) set(out io.Writer, v any) error {
	if d.out != nil {
		return errors.New("a second result: a document has one")
	}
	d.out = out
	_, err := fmt.Fprintf(out, "{\n  \"schema\": %d,\n  \"result\": ", documentSchema)
	return errors.Join(err, encode(out, v, "  "))
}

// begin begins a list of results, which may stay empty.
func (d *document) begin(out io.Writer) error {
	d.out, d.list = out, true
	_, err := fmt.Fprintf(out, "{\n  \"schema\": %d,\n  \"result\": [", documentSchema)
	return err
}

func (d *document) add(out io.Writer, v any) error {
	if d.out == nil {
		if err := d.begin(out); err != nil {
			return err
		}
	}
	separator := "\n    "
	if d.items > 0 {
		separator = ",\n    "
	}
	d.items++
	_, err := io.WriteString(out, separator)
	return errors.Join(err, encode(out, v, "    "))
}

// end ends the document, with the error of the target where it has failed. A target that has no
// result, as there was nothing to do, or it failed before, has null.
func (d *document) end(failed *documentError) error {
	defer func() { *d = document{asked: d.asked} }()
	if d.out == nil && !d.asked {
		return nil
	}
	if d.out == nil {
		if err := d.set(os.Stdout, nil); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	if d.list {
		if d.items > 0 {
			b.WriteString("\n  ")
		}
		b.WriteString("]")
	}
	if failed != nil {
		b.WriteString(",\n  \"error\": ")
		_ = encode(&b, failed, "  ") // a buffer takes all
	}
	b.WriteString("\n}\n")
	_, err := d.out.Write(b.Bytes())
	return err
}

// encode writes v with indentation, without a newline at its end.
func encode(out io.Writer, v any, prefix string) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetIndent(prefix, "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return err
	}
	_, err := out.Write(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
	return err
}
