package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A lock is the lockfile of a build, with its nodes as they stand there too.
type lock struct {
	*buildcache.Lockfile
	nodes map[buildcache.Hash]json.RawMessage
	built map[buildcache.Hash]bool // by binary hash: what a build cache may have of it
}

// every selects all edges of the DAG: a spec file holds all nodes that they reach.
const every = buildcache.Build | buildcache.Link | buildcache.Run | buildcache.Test

func readLock(text []byte) (*lock, error) {
	parsed, err := buildcache.ParseLockfile(text)
	if err != nil {
		return nil, err
	}
	l := &lock{parsed, map[buildcache.Hash]json.RawMessage{}, map[buildcache.Hash]bool{}}
	var e environment
	if err := json.Unmarshal(text, &e); err != nil {
		return nil, fmt.Errorf("lockfile: %w", err)
	}
	l.add(e)
	for hash, spec := range parsed.Specs {
		if l.nodes[hash] == nil {
			return nil, fmt.Errorf("lockfile: node %s is read two ways", hash)
		}
		if !spec.External {
			l.built[spec.BinaryHash()] = true
		}
	}
	return l, nil
}

type environment struct {
	Specs    map[string]json.RawMessage `json:"concrete_specs"`
	Included map[string]environment     `json:"include_concrete"`
}

func (l *lock) add(e environment) {
	for hash, node := range e.Specs {
		l.nodes[buildcache.Hash(hash)] = node
	}
	for _, included := range e.Included {
		l.add(included)
	}
}

// A specFile is what a spec file says, taken apart by exact keys.
type specFile struct {
	version   int
	layout    int
	algorithm string // of the tarball's checksum, in layout v2
	checksum  string
	nodes     []*buildcache.Spec
}

func parseSpecFile(text []byte) (*specFile, error) {
	var file, spec map[string]json.RawMessage
	var meta struct {
		Version int `json:"version"`
	}
	var nodes []json.RawMessage
	var sum struct {
		Algorithm string `json:"hash_algorithm"`
		Hash      string `json:"hash"`
	}
	f := &specFile{}
	err := json.Unmarshal(text, &file)
	if err == nil {
		err = json.Unmarshal(file["spec"], &spec)
	}
	if err == nil {
		err = errors.Join(json.Unmarshal(spec["_meta"], &meta), json.Unmarshal(spec["nodes"], &nodes),
			json.Unmarshal(file["buildcache_layout_version"], &f.layout))
	}
	if raw, ok := file["binary_cache_checksum"]; ok && err == nil {
		err = json.Unmarshal(raw, &sum)
	}
	if err == nil && len(nodes) == 0 {
		err = errors.New("it has no nodes")
	}
	if err != nil {
		return nil, fmt.Errorf("no spec file: %w", err)
	}
	f.version, f.algorithm, f.checksum = meta.Version, sum.Algorithm, sum.Hash
	for _, raw := range nodes {
		node, err := buildcache.ParseSpec(raw)
		if err != nil {
			return nil, err
		}
		f.nodes = append(f.nodes, node)
	}
	return f, nil
}

// about makes sure that a spec file is about a hash, and that it says of every spec in the lockfile
// what that says.
func (l *lock) about(f *specFile, hash buildcache.Hash) error {
	if f.nodes[0].Hash != hash {
		return fmt.Errorf("it is about %s, not about the hash in its name", f.nodes[0])
	}
	for _, node := range f.nodes {
		if want := l.Specs[node.Hash]; want != nil {
			if what := want.Differs(node); what != "" {
				return fmt.Errorf("it says else than the lockfile of %s: %s", want, what)
			}
		}
	}
	return nil
}

// whole makes sure that a spec file has just the nodes that its spec depends on.
func (l *lock) whole(f *specFile) error {
	want := map[buildcache.Hash]bool{}
	for _, spec := range l.Closure([]buildcache.Hash{f.nodes[0].Hash}, every) {
		want[spec.Hash] = true
	}
	for _, node := range f.nodes {
		if !want[node.Hash] {
			return fmt.Errorf("the lockfile has no %s below %s", node, f.nodes[0])
		}
		delete(want, node.Hash)
	}
	for hash := range want {
		return fmt.Errorf("it leaves out %s", l.Specs[hash])
	}
	return nil
}

// specText writes what a spec file has under "spec", from the lockfile's own words: nothing of it
// is the build's.
func (l *lock) specText(f *specFile) ([]byte, error) {
	var b bytes.Buffer
	version := l.SpecfileVersion
	if version == 0 {
		version = f.version
	}
	fmt.Fprintf(&b, `{"_meta":{"version":%d},"nodes":[`, version)
	for i, node := range f.nodes {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := json.Compact(&b, l.nodes[node.Hash]); err != nil {
			return nil, err
		}
	}
	b.WriteString("]}")
	return b.Bytes(), nil
}
