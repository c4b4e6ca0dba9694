package index_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
)

// The oracle reads an index with encoding/json. It shares no code with the
// scanner, and its rules are the contract: what it accepts, and what it finds.

type oracleIndex struct {
	version string
	order   []string // hashes of the entries
	entries map[string]*oracleEntry
}

type oracleEntry struct {
	name, version     string
	external, inCache bool
	refs              uint32
	deps              []oracleDep
	buildSpec         string
}

type oracleDep struct {
	hash  string
	types buildcache.DepTypes
}

var oracleHash = regexp.MustCompile(`^[a-z2-7]{32}\z`)

// A member keeps the order and the repetitions that a map would lose.
type member struct {
	key   string
	value json.RawMessage
}

func members(raw json.RawMessage) ([]member, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("no object: %v %v", t, err)
	}
	var list []member
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		var m member
		m.key = key.(string)
		if err := d.Decode(&m.value); err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, nil
}

// pick returns the values of the named keys. One that is there twice is an
// error.
func pick(raw json.RawMessage, names ...string) (map[string]json.RawMessage, error) {
	list, err := members(raw)
	if err != nil {
		return nil, err
	}
	found := map[string]json.RawMessage{}
	for _, m := range list {
		if !slices.Contains(names, m.key) {
			continue
		}
		if _, ok := found[m.key]; ok {
			return nil, fmt.Errorf("%s is there twice", m.key)
		}
		found[m.key] = m.value
	}
	return found, nil
}

func isNull(raw json.RawMessage) bool { return raw == nil || string(raw) == "null" }

func oracle(data []byte) (*oracleIndex, error) {
	if !json.Valid(data) {
		return nil, errors.New("not valid")
	}
	top, err := pick(data, "database")
	if err != nil {
		return nil, err
	}
	db, err := pick(top["database"], "version", "installs")
	if err != nil {
		return nil, err
	}
	x := &oracleIndex{entries: map[string]*oracleEntry{}}
	if err := json.Unmarshal(orNull(db["version"]), &x.version); err != nil {
		return nil, err
	}
	if !regexp.MustCompile(`^([6-9]|[1-9][0-9]{1,17})$`).MatchString(x.version) {
		return nil, errors.New("unknown version")
	}
	installs, err := members(db["installs"])
	if err != nil {
		return nil, err
	}
	for _, m := range installs {
		if !oracleHash.MatchString(m.key) || x.entries[m.key] != nil {
			return nil, fmt.Errorf("entry %q", m.key)
		}
		if x.entries[m.key], err = oracleRecord(m.key, m.value); err != nil {
			return nil, err
		}
		x.order = append(x.order, m.key)
	}
	return x, nil
}

func orNull(raw json.RawMessage) json.RawMessage {
	if raw == nil {
		return json.RawMessage("null")
	}
	return raw
}

func oracleRecord(key string, raw json.RawMessage) (*oracleEntry, error) {
	rec, err := pick(raw, "spec", "ref_count", "in_buildcache")
	if err != nil {
		return nil, err
	}
	e := &oracleEntry{}
	if isNull(rec["ref_count"]) || isNull(rec["in_buildcache"]) {
		return nil, errors.New("a value is missing")
	}
	if err := errors.Join(json.Unmarshal(rec["ref_count"], &e.refs), json.Unmarshal(rec["in_buildcache"], &e.inCache)); err != nil {
		return nil, err
	}
	spec, err := pick(rec["spec"], "name", "version", "hash", "external", "build_spec", "dependencies")
	if err != nil {
		return nil, err
	}
	var hash string
	for _, f := range []struct {
		key string
		to  *string
	}{{"name", &e.name}, {"version", &e.version}, {"hash", &hash}} {
		if err := json.Unmarshal(orNull(spec[f.key]), f.to); err != nil || *f.to == "" {
			return nil, fmt.Errorf("%s: %v", f.key, err)
		}
	}
	if hash != key {
		return nil, errors.New("another hash")
	}
	if raw := spec["external"]; !isNull(raw) && string(raw) != "false" {
		list, err := members(raw)
		if err != nil {
			return nil, err
		}
		e.external = len(list) > 0
	}
	if raw := spec["build_spec"]; !isNull(raw) {
		if e.buildSpec, err = oracleHashOf(raw); err != nil {
			return nil, err
		}
	}
	var deps []json.RawMessage
	if err := json.Unmarshal(orNull(spec["dependencies"]), &deps); err != nil {
		return nil, err
	}
	for _, raw := range deps {
		d, err := oracleDependency(raw)
		if err != nil {
			return nil, err
		}
		e.deps = append(e.deps, d)
	}
	return e, nil
}

func oracleHashOf(raw json.RawMessage) (string, error) {
	f, err := pick(raw, "hash")
	if err != nil {
		return "", err
	}
	var h string
	if err := json.Unmarshal(orNull(f["hash"]), &h); err != nil || !oracleHash.MatchString(h) {
		return "", fmt.Errorf("hash %q: %v", h, err)
	}
	return h, nil
}

func oracleDependency(raw json.RawMessage) (d oracleDep, err error) {
	if d.hash, err = oracleHashOf(raw); err != nil {
		return d, err
	}
	f, err := pick(raw, "parameters", "type")
	if err != nil {
		return d, err
	}
	old, err := oracleTypes(f["type"])
	if err != nil {
		return d, err
	}
	if !isNull(f["parameters"]) {
		p, err := pick(f["parameters"], "deptypes")
		if err != nil {
			return d, err
		}
		if d.types, err = oracleTypes(p["deptypes"]); err != nil {
			return d, err
		}
	}
	if d.types == 0 {
		d.types = old
	}
	if d.types == 0 {
		return d, errors.New("no types")
	}
	return d, nil
}

func oracleTypes(raw json.RawMessage) (types buildcache.DepTypes, err error) {
	var names []*string
	if err := json.Unmarshal(orNull(raw), &names); err != nil {
		return 0, err
	}
	bits := map[string]buildcache.DepTypes{"build": buildcache.Build, "link": buildcache.Link, "run": buildcache.Run, "test": buildcache.Test}
	if names != nil && len(names) == 0 {
		return 0, errors.New("an empty list of types")
	}
	for _, n := range names {
		if n == nil || bits[*n] == 0 {
			return 0, errors.New("unknown type")
		}
		types |= bits[*n]
	}
	return types, nil
}

// compare says where a graph differs from what the oracle found.
func compare(g *index.Graph, want *oracleIndex) error {
	if g.Version() != want.version {
		return fmt.Errorf("version: got %q, want %q", g.Version(), want.version)
	}
	if len(g.Entries()) != len(want.order) {
		return fmt.Errorf("got %d entries, want %d", len(g.Entries()), len(want.order))
	}
	nodes := map[string]bool{}
	for i, id := range g.Entries() {
		h := string(g.Hash(id))
		if h != want.order[i] {
			return fmt.Errorf("entry %d: got %s, want %s", i, h, want.order[i])
		}
		if again, ok := g.Lookup(buildcache.Hash(h)); !ok || again != id || g.Missing(id) {
			return fmt.Errorf("%s: Lookup: got %d %v, want %d", h, again, ok, id)
		}
		got, e := entry(g, id), want.entries[h]
		if got.name != e.name || got.version != e.version || got.external != e.external || got.inCache != e.inCache ||
			got.refs != e.refs || got.buildSpec != e.buildSpec || !slices.Equal(got.deps, e.deps) {
			return fmt.Errorf("%s: got %+v, want %+v", h, got, *e)
		}
		nodes[h] = true
		for _, d := range e.deps {
			nodes[d.hash] = true
		}
		if e.buildSpec != "" {
			nodes[e.buildSpec] = true
		}
	}
	if g.Len() != len(nodes) {
		return fmt.Errorf("got %d nodes, want %d", g.Len(), len(nodes))
	}
	for h := range nodes {
		if id, ok := g.Lookup(buildcache.Hash(h)); !ok || g.Missing(id) != (want.entries[h] == nil) {
			return fmt.Errorf("node %s: %d %v", h, id, ok)
		}
	}
	return nil
}

func entry(g *index.Graph, id uint32) oracleEntry {
	e := oracleEntry{
		name: g.Name(id), version: g.VersionOf(id), external: g.External(id), inCache: g.InCache(id), refs: g.RefCount(id),
	}
	for to, types := range g.Deps(id) {
		e.deps = append(e.deps, oracleDep{string(g.Hash(to)), types})
	}
	if to, ok := g.BuildSpec(id); ok {
		e.buildSpec = string(g.Hash(to))
	}
	return e
}

// filtered is the index that the oracle expects Rewrite to write.
func (x *oracleIndex) filtered(keep map[string]bool) *oracleIndex {
	stay := map[string]bool{}
	var visit func(string)
	visit = func(h string) {
		if stay[h] || x.entries[h] == nil {
			return
		}
		stay[h] = true
		for _, d := range x.entries[h].deps {
			visit(d.hash)
		}
	}
	for _, h := range x.order {
		if keep[h] {
			visit(h)
		}
	}
	y := &oracleIndex{version: x.version, entries: map[string]*oracleEntry{}}
	for _, h := range x.order {
		if stay[h] {
			e := *x.entries[h]
			e.refs, e.inCache = 0, keep[h]
			y.order, y.entries[h] = append(y.order, h), &e
		}
	}
	for h, e := range y.entries {
		for _, d := range e.deps {
			if to := y.entries[d.hash]; to != nil && d.hash != h {
				to.refs++
			}
		}
	}
	return y
}

// A stingy reader gives a few bytes at a time.
type stingy struct {
	r io.Reader
	n int
}

func (s stingy) Read(p []byte) (int, error) { return s.r.Read(p[:min(len(p), s.n)]) }
