package index

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// WriteRecord writes the record that an index of a database version has of a node: "HASH":{…}, with
// ref_count 0 and in_buildcache true, which Rewrite corrects.
//
// node is one of a spec file of specVersion. It is written as Spack writes it into such an index:
// in a database since version 8 a node of an older spec file has its compiler among the annotations,
// and Spack refuses the whole index where one node is otherwise. That an edge is direct, as all of
// older spec files are, is not in what "spack buildcache update-index" writes.
func WriteRecord(w io.Writer, node []byte, specVersion, database int) error {
	members, err := membersOf(node)
	if err != nil {
		return fmt.Errorf("index: node: %w", err)
	}
	var hash string
	if err := json.Unmarshal(members.get("hash"), &hash); err != nil {
		return fmt.Errorf("index: node: %w: no hash", buildcache.ErrFormat)
	}
	if _, err := buildcache.ParseHash(hash); err != nil {
		return fmt.Errorf("index: node: %w", err)
	}
	old := members.get("annotations") == nil && specVersion < 5
	if deps := members.get("dependencies"); deps != nil && (old || specVersion < 4 || specVersion == 5 && bytes.Contains(deps, []byte(`"direct"`))) {
		if deps, err = convertEdges(deps, database); err != nil {
			return fmt.Errorf("index: node %s: %w", hash, err)
		}
		members.set("dependencies", deps)
	}
	if old && database >= 8 {
		if err := members.annotate(specVersion); err != nil {
			return fmt.Errorf("index: node %s: %w", hash, err)
		}
	}
	_, err = fmt.Fprintf(w, `%q:{"spec":%s,"ref_count":0,"in_buildcache":true}`, hash, members.text())
	return err
}

// members are those of a JSON object in their order.
type members []member

type member struct {
	key   string
	value json.RawMessage
}

func membersOf(text []byte) (members, error) {
	if !json.Valid(text) {
		return nil, fmt.Errorf("%w: no JSON", buildcache.ErrFormat)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("%w: want an object", buildcache.ErrFormat)
	}
	var all members
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", buildcache.ErrFormat, err)
		}
		m := member{key: key.(string)} // a key is a string, or Token fails
		if err := d.Decode(&m.value); err != nil {
			return nil, fmt.Errorf("%w: %w", buildcache.ErrFormat, err)
		}
		if all.get(m.key) != nil {
			return nil, fmt.Errorf("%w: the key %q is there twice", buildcache.ErrFormat, m.key)
		}
		all = append(all, m)
	}
	return all, nil
}

func (m members) get(key string) json.RawMessage {
	for _, member := range m {
		if member.key == key {
			return member.value
		}
	}
	return nil
}

func (m members) set(key string, value json.RawMessage) {
	for i := range m {
		if m[i].key == key {
			m[i].value = value
		}
	}
}

// text writes the object without white space.
func (m members) text() []byte {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, member := range m {
		if i > 0 {
			b.WriteByte(',')
		}
		key, _ := json.Marshal(member.key) // a string can always be written
		b.Write(key)
		b.WriteByte(':')
		if json.Compact(&b, member.value) != nil {
			b.Write(member.value) // cannot be: it was decoded
		}
	}
	b.WriteByte('}')
	return b.Bytes()
}

// annotate puts the version of the spec file and the compiler where Spack 1.0 and newer look for
// them, before the hash.
func (m *members) annotate(specVersion int) error {
	note := struct {
		Version  int    `json:"original_specfile_version"`
		Compiler string `json:"compiler,omitempty"`
	}{Version: specVersion}
	var rest members
	for _, member := range *m {
		switch member.key {
		case "compiler":
			var c struct{ Name, Version string }
			if err := json.Unmarshal(member.value, &c); err != nil || c.Name == "" {
				return fmt.Errorf("%w: compiler %.60s", buildcache.ErrFormat, member.value)
			}
			note.Compiler = c.Name + "@=" + c.Version
			continue
		case "hash":
			rest = append(rest, members{{"annotations", nil}, member}...)
			continue
		}
		rest = append(rest, member)
	}
	value, err := json.Marshal(note)
	if err != nil {
		return err
	}
	rest.set("annotations", value)
	*m = rest
	return nil
}

// convertEdges writes dependencies in the form of a database version.
func convertEdges(text json.RawMessage, database int) (json.RawMessage, error) {
	type parameters struct {
		Types    []string `json:"deptypes"`
		Virtuals []string `json:"virtuals"`
	}
	type edge struct {
		Name       string      `json:"name"`
		Hash       string      `json:"hash"`
		Type       []string    `json:"type,omitempty"` // up to spec file version 3
		Parameters *parameters `json:"parameters,omitempty"`
	}
	var edges []edge
	if err := json.Unmarshal(text, &edges); err != nil {
		return nil, fmt.Errorf("dependencies: %w: %w", buildcache.ErrFormat, err)
	}
	for i := range edges {
		e := &edges[i]
		if e.Parameters == nil {
			e.Parameters = &parameters{Types: e.Type}
		}
		if e.Parameters.Virtuals == nil {
			e.Parameters.Virtuals = []string{}
		}
		e.Type = nil
		if database < 7 {
			e.Type, e.Parameters = e.Parameters.Types, nil
		}
	}
	return json.Marshal(edges)
}
