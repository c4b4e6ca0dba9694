package buildcache

import (
	"fmt"
	"maps"
	"os"
	"slices"
)

// A Root is a spec that an environment asks for.
type Root struct {
	Spec string // as the user wrote it, such as qs-server@2.0+tls
	Hash Hash
}

// A Lockfile is a spack.lock: an environment's concrete specs.
type Lockfile struct {
	Version, SpecfileVersion int // of the format; the latter is 0 where version 4 does not say
	Spack                    struct {
		Version string `json:"version"` // of the Spack that concretized
		Commit  string `json:"commit"`
	}
	Roots []Root         // its own first, then those of included environments by path; each (spec, hash) once
	Specs map[Hash]*Spec // all nodes, those of included environments too
}

// maxLockfile is how long a lockfile may be, in bytes: a node takes some 1.5 kB.
const maxLockfile = 512 << 20

// ReadLockfile reads a lockfile from disk; its errors name the path.
func ReadLockfile(path string) (*Lockfile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("lockfile: %w", err)
	}
	defer f.Close()
	data, err := readAll(f, maxLockfile)
	if err != nil {
		return nil, fmt.Errorf("lockfile: %s: %w", path, err)
	}
	l, err := ParseLockfile(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return l, nil
}

// ParseLockfile reads lockfiles since version 4 (Spack 0.18), in which nodes are keyed by their DAG
// hash. One of a version newer than those that were tried is read if it has the same shape; see
// LockfileFormat.Note.
//
// What it returns is whole: every root and dependency names a node, and there
// is no cycle. Anything else is ErrFormat, since half a lockfile would make
// packages look unused.
func ParseLockfile(data []byte) (*Lockfile, error) {
	var f lockfile
	if err := decode(data, &f); err != nil {
		return nil, fmt.Errorf("no lockfile: %w", err)
	}
	if err := CheckLockfile(f.Meta.FileType, f.Meta.Version); err != nil {
		return nil, fmt.Errorf("lockfile: %w", err)
	}
	l := &Lockfile{
		Version:         f.Meta.Version,
		SpecfileVersion: f.Meta.SpecfileVersion,
		Specs:           map[Hash]*Spec{},
	}
	l.Spack.Version, l.Spack.Commit = f.Spack.Version, f.Spack.Commit
	if hasControls(l.Spack.Version + l.Spack.Commit) {
		return nil, fmt.Errorf("lockfile: %w: the version of Spack holds control characters", ErrFormat)
	}
	if err := l.fill(&f.environment); err != nil {
		if LockfileFormat.Newer(l.Version) {
			return nil, fmt.Errorf("lockfile: of version %d, which is newer than what is known here (%d), and of another shape: update this program: %w", l.Version, LockfileFormat.Tested, err)
		}
		return nil, fmt.Errorf("lockfile: %w", err)
	}
	return l, nil
}

// A lockfile is a spack.lock as JSON has it.
type lockfile struct {
	Meta  lockfileMeta `json:"_meta"`
	Spack struct {
		Version string `json:"version"`
		Commit  string `json:"commit"`
	} `json:"spack"`
	environment
}

type lockfileMeta struct {
	FileType        string `json:"file-type"`
	Version         int    `json:"lockfile-version"`
	SpecfileVersion int    `json:"specfile-version"`
}

// CheckLockfile reports whether a file whose _meta has this file type and lockfile version can be
// read. If not, it is ErrFormat, and tells the user what to do.
func CheckLockfile(fileType string, version int) error {
	switch {
	case fileType != "spack-lockfile":
		return fmt.Errorf("%w: no spack.lock: its file type is %q, not \"spack-lockfile\"", ErrFormat, fileType)
	case version < 1:
		return fmt.Errorf("%w: it does not say its version", ErrFormat)
	case version < LockfileFormat.Oldest:
		return fmt.Errorf("%w: version %d, of Spack 0.17 or older, names specs by other hashes than a build cache does: concretize again with a newer Spack", ErrFormat, version)
	}
	return nil
}

// An environment is the part of a lockfile that include_concrete repeats, by
// path, for each included environment. The nodes of those stand there only.
type environment struct {
	Roots *[]struct {
		Hash string `json:"hash"`
		Spec string `json:"spec"`
	} `json:"roots"`
	Specs    map[string]*node        `json:"concrete_specs"`
	Included map[string]*environment `json:"include_concrete"`
}

// fill takes over all environments, and checks that the DAG is whole.
func (l *Lockfile) fill(e *environment) error {
	if err := l.add(e); err != nil {
		return err
	}
	if err := l.dangling(); err != nil {
		return err
	}
	return l.cycle()
}

// add takes over an environment, then those that it includes in the order of
// their paths.
func (l *Lockfile) add(e *environment) error {
	if e == nil || e.Roots == nil || e.Specs == nil {
		return fmt.Errorf("%w: roots or concrete_specs are missing", ErrFormat)
	}
	for _, key := range slices.Sorted(maps.Keys(e.Specs)) {
		if err := l.addNode(key, e.Specs[key]); err != nil {
			return err
		}
	}
	for _, r := range *e.Roots {
		hash, err := ParseHash(r.Hash)
		if err != nil {
			return fmt.Errorf("root %q: %w", r.Spec, err)
		}
		if hasControls(r.Spec) {
			return fmt.Errorf("root %.80q: %w: it holds control characters", r.Spec, ErrFormat)
		}
		if root := (Root{Spec: r.Spec, Hash: hash}); !slices.Contains(l.Roots, root) {
			l.Roots = append(l.Roots, root)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(e.Included)) {
		if err := l.add(e.Included[path]); err != nil {
			return fmt.Errorf("included environment %q: %w", path, err)
		}
	}
	return nil
}

func (l *Lockfile) addNode(key string, n *node) error {
	s, err := n.spec()
	if err != nil {
		return fmt.Errorf("node %q: %w", key, err)
	}
	if string(s.Hash) != key {
		return fmt.Errorf("%w: node %q says that its hash is %s", ErrFormat, key, s.Hash)
	}
	if old, ok := l.Specs[s.Hash]; ok && (old.Name != s.Name || old.Version != s.Version) {
		return fmt.Errorf("%w: %s and %s have the same hash", ErrFormat, old, s)
	} else if !ok {
		l.Specs[s.Hash] = s
	}
	return nil
}
