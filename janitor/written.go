package janitor

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"iter"
)

// WriteJSON writes a plan, one line for each spec and object.
func (p *Plan) WriteJSON(w io.Writer) error {
	head, err := json.Marshal(p.Head)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 1<<16)
	out.Write(bytes.TrimSuffix(head, []byte("}"))) //nolint:errcheck // Flush tells
	err = writeList(out, "specs", p.Going())
	if err == nil {
		err = writeList(out, "delete", p.Deletions())
	}
	if err == nil {
		err = writeList(out, "keep", p.Kept())
	}
	if err != nil {
		return err
	}
	out.WriteString("}\n") //nolint:errcheck // Flush tells
	return out.Flush()
}

func writeList[T any](out *bufio.Writer, name string, list iter.Seq[T]) error {
	out.WriteString(",\n" + `"` + name + `":[`) //nolint:errcheck // Flush tells
	sep := "\n"
	for v := range list {
		line, err := json.Marshal(v)
		if err != nil {
			return err
		}
		out.WriteString(sep) //nolint:errcheck // Flush tells
		if _, err := out.Write(line); err != nil {
			return err
		}
		sep = ",\n"
	}
	_, err := out.WriteString("]")
	return err
}

// MarshalJSON returns what WriteJSON writes.
func (p Plan) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	if err := p.WriteJSON(&b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
