package index_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
)

// agree says where ReadLock and buildcache.ParseLockfile differ in what they
// make of a lockfile, but for what ReadLock says of itself: it is stricter in
// some ways (see stricter), and does not look at what it does not go by (see
// essence).
func agree(data []byte, size int64) error {
	want, wantErr := buildcache.ParseLockfile(data)
	got, err := index.ReadLock(bytes.NewReader(data), size)
	if err != nil {
		if !errors.Is(err, buildcache.ErrFormat) {
			return fmt.Errorf("got %w, want ErrFormat", err)
		}
		if wantErr == nil && !stricter(data, want) {
			return fmt.Errorf("got %w, but ParseLockfile accepts it", err)
		}
		return nil
	}
	if wantErr != nil {
		if repeats(data) {
			return fmt.Errorf("it is accepted though a key is there twice")
		}
		if want, err = buildcache.ParseLockfile(essence(data)); err != nil {
			return fmt.Errorf("it is accepted, but ParseLockfile says %w, and of its essence %w", wantErr, err)
		}
	}
	return compareLock(got, want)
}

func compareLock(got *index.Lock, want *buildcache.Lockfile) error {
	if got.Version != want.Version || got.Graph.Version() != "" {
		return fmt.Errorf("version: got %d and %q, want %d", got.Version, got.Graph.Version(), want.Version)
	}
	var roots, wantRoots []buildcache.Hash
	for _, id := range got.Roots {
		roots = append(roots, got.Hash(id))
	}
	for _, r := range want.Roots {
		if !slices.Contains(wantRoots, r.Hash) { // under another spec
			wantRoots = append(wantRoots, r.Hash)
		}
	}
	if !slices.Equal(roots, wantRoots) {
		return fmt.Errorf("roots: got %v, want %v", roots, wantRoots)
	}
	if got.Len() != len(want.Specs) || len(got.Entries()) != len(want.Specs) {
		return fmt.Errorf("got %d nodes and %d entries, want %d", got.Len(), len(got.Entries()), len(want.Specs))
	}
	for h, s := range want.Specs {
		id, ok := got.Lookup(h)
		if !ok || got.Missing(id) || got.Hash(id) != h {
			return fmt.Errorf("%s: got %d %v", s, id, ok)
		}
		e := oracleEntry{name: s.Name, version: s.Version, external: s.External, buildSpec: string(s.BuildSpec)}
		for _, d := range s.Dependencies {
			e.deps = append(e.deps, oracleDep{string(d.Hash), d.Types})
		}
		if g, w := fmt.Sprint(entry(got.Graph, id)), fmt.Sprint(e); g != w {
			return fmt.Errorf("%s: got %s, want %s", s, g, w)
		}
	}
	return nil
}

// counted are the keys that ReadLock goes by.
var counted = []string{"_meta", "file-type", "lockfile-version", "roots", "concrete_specs", "include_concrete",
	"name", "version", "hash", "external", "build_spec", "dependencies", "parameters", "deptypes", "type"}

// stricter says whether a lockfile that ParseLockfile accepts has something of
// what ReadLock refuses beyond that. The limits of sizes are out of reach here.
func stricter(data []byte, parsed *buildcache.Lockfile) bool {
	found := !utf8.Valid(data) // keys may be the same but for that
	everyMember(data, func(key string, value json.RawMessage) {
		for _, name := range counted {
			found = found || key != name && strings.EqualFold(key, name)
		}
		switch key {
		case "hash": // of a node that only one names that does not count
			var h buildcache.Hash
			found = found || json.Unmarshal(value, &h) == nil && oracleHash.MatchString(string(h)) && parsed.Specs[h] == nil
		case "type", "deptypes": // empty, or unknown in a list that another one overrides
			types, err := oracleTypes(value)
			found = found || err != nil || types == 0
		}
	})
	return found
}

// everyMember visits the members of all objects in a document.
func everyMember(raw json.RawMessage, visit func(key string, value json.RawMessage)) {
	var elements []json.RawMessage
	if json.Unmarshal(raw, &elements) == nil {
		for _, e := range elements {
			everyMember(e, visit)
		}
		return
	}
	list, err := members(raw)
	if err != nil {
		return
	}
	for _, m := range list {
		visit(m.key, m.value)
		everyMember(m.value, visit)
	}
}

// repeats says whether an object has a key twice.
func repeats(raw json.RawMessage) bool {
	var elements []json.RawMessage
	if json.Unmarshal(raw, &elements) == nil {
		return slices.ContainsFunc(elements, repeats)
	}
	list, err := members(raw)
	if err != nil {
		return false
	}
	seen := map[string]bool{}
	for _, m := range list {
		if seen[m.key] || repeats(m.value) {
			return true
		}
		seen[m.key] = true
	}
	return false
}

// A form says which members of an object count, and what counts in these. A
// nil form takes all as it is.
type form struct {
	members map[string]*form
	each    *form // of the other members, or of the elements of a list
	nothing bool  // but that it is there
}

// lockForm is what ReadLock goes by.
var lockForm = func() *form {
	of := func(keys ...string) map[string]*form {
		m := map[string]*form{}
		for _, k := range keys {
			m[k] = nil
		}
		return m
	}
	edge := &form{members: of("hash", "type")}
	edge.members["parameters"] = &form{members: of("deptypes")}
	node := &form{members: of("name", "version", "hash")}
	node.members["dependencies"] = &form{each: edge}
	node.members["build_spec"] = &form{members: of("hash")}
	node.members["external"] = &form{each: &form{nothing: true}}
	environment := func() *form {
		return &form{members: map[string]*form{"roots": {each: &form{members: of("hash")}}, "concrete_specs": {each: node}}}
	}
	inner, top := environment(), environment()
	inner.members["include_concrete"] = &form{each: inner}
	top.members["include_concrete"] = &form{each: inner}
	top.members["_meta"] = &form{members: of("file-type", "lockfile-version")}
	return top
}()

// essence leaves out of a lockfile what ReadLock does not go by.
func essence(data []byte) []byte { return lockForm.of(data) }

func (f *form) of(raw json.RawMessage) json.RawMessage {
	if f == nil {
		return raw
	}
	if f.nothing {
		return json.RawMessage("null")
	}
	var elements []json.RawMessage
	if json.Unmarshal(raw, &elements) == nil && elements != nil {
		var kept [][]byte
		for _, e := range elements {
			kept = append(kept, f.each.of(e))
		}
		return slices.Concat([]byte("["), bytes.Join(kept, []byte(",")), []byte("]"))
	}
	list, err := members(raw)
	if err != nil {
		return raw
	}
	var kept [][]byte
	for _, m := range list {
		inner, ok := f.members[m.key]
		if !ok && f.each == nil {
			continue
		}
		if !ok {
			inner = f.each
		}
		key, _ := json.Marshal(m.key)
		kept = append(kept, slices.Concat(key, []byte(":"), inner.of(m.value)))
	}
	return slices.Concat([]byte("{"), bytes.Join(kept, []byte(",")), []byte("}"))
}
