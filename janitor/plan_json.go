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
	return writeObject(w, p.Head, inLines("specs", p.Specs()), inLines("orphans", p.Orphans()), inLines("delete", p.Deletions()), inLines("keep", p.Kept()))
}

// writeObject writes a JSON object with the members of head, of which there is
// one at least, and lists, which are not held in memory.
func writeObject(w io.Writer, head any, lists ...func(*bufio.Writer) error) error {
	text, err := json.Marshal(head)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 1<<16)
	out.Write(bytes.TrimSuffix(text, []byte("}"))) // Flush tells
	for _, list := range lists {
		if err := list(out); err != nil {
			return err
		}
	}
	out.WriteString("}\n") // Flush tells
	return out.Flush()
}

// inLines writes a member of an object, a line for each element.
func inLines[T any](name string, list iter.Seq[T]) func(*bufio.Writer) error {
	return func(out *bufio.Writer) error {
		out.WriteString(",\n" + `"` + name + `":[`) // Flush tells
		sep := "\n"
		for v := range list {
			line, err := json.Marshal(v)
			if err != nil {
				return err
			}
			out.WriteString(sep) // Flush tells
			if _, err := out.Write(line); err != nil {
				return err
			}
			sep = ",\n"
		}
		_, err := out.WriteString("]")
		return err
	}
}

// MarshalJSON returns what WriteJSON writes.
func (p Plan) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	if err := p.WriteJSON(&b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
