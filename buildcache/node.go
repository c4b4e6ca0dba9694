package buildcache

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// ParseSpec reads one node of a concrete DAG, as lockfiles, spec files and
// indexes hold it, whatever the version of the file, migrated ones too. Unknown keys
// are ignored; a node without name, version or hash is ErrFormat, and so is an
// edge of unknown type.
func ParseSpec(data []byte) (*Spec, error) {
	var n *node
	if err := decode(data, &n); err != nil {
		return nil, fmt.Errorf("spec: %w", err)
	}
	s, err := n.spec()
	if err != nil {
		return nil, fmt.Errorf("spec: %w", err)
	}
	return s, nil
}

// A node is a spec as JSON has it.
type node struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Hash    string `json:"hash"`
	Arch    struct {
		Platform string `json:"platform"`
		OS       string `json:"platform_os"`
		Target   target `json:"target"`
	} `json:"arch"`
	Compiler    nameVersion     `json:"compiler"` // up to specfile version 4
	Namespace   string          `json:"namespace"`
	Parameters  parameters      `json:"parameters"`
	PackageHash string          `json:"package_hash"`
	External    json.RawMessage `json:"external"`
	BuildSpec   *struct {
		Hash string `json:"hash"`
	} `json:"build_spec"`
	Annotations struct {
		Compiler string `json:"compiler"` // gcc@=12.2.0, where a v4 node was migrated to v5
	} `json:"annotations"`
	Dependencies []edge `json:"dependencies"`
}

// parameters keep numbers as they are written: as floats two different ones could be equal.
type parameters map[string]any

func (p *parameters) UnmarshalJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return d.Decode((*map[string]any)(p))
}

type nameVersion struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// A target is a name, or for all but generic targets an object with the name
// and all that archspec knows of it.
type target string

func (t *target) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(data, []byte("{")) {
		var full nameVersion
		err := json.Unmarshal(data, &full)
		*t = target(full.Name)
		return err
	}
	return json.Unmarshal(data, (*string)(t))
}

func (n *node) spec() (*Spec, error) {
	if n == nil || n.Name == "" {
		return nil, fmt.Errorf("%w: a node has no name", ErrFormat)
	}
	if err := CheckName(n.Name); err != nil {
		return nil, err
	}
	hash, err := ParseHash(n.Hash)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", n.Name, err)
	}
	if n.Version == "" {
		return nil, fmt.Errorf("%s/%s: %w: no version: the spec is not concrete", n.Name, hash, ErrFormat)
	}
	if err := CheckVersion(n.Version); err != nil {
		return nil, fmt.Errorf("%s/%s: %w", n.Name, hash, err)
	}
	if err := n.checkText(); err != nil {
		return nil, fmt.Errorf("%s/%s: %w", n.Name, hash, err)
	}
	s := &Spec{
		Hash:        hash,
		Name:        n.Name,
		Version:     n.Version,
		Platform:    n.Arch.Platform,
		OS:          n.Arch.OS,
		Target:      string(n.Arch.Target),
		Compiler:    n.compiler(),
		Namespace:   n.Namespace,
		Parameters:  n.Parameters,
		PackageHash: n.PackageHash,
	}
	if s.External, s.ExternalPath, err = n.external(); err != nil {
		return nil, fmt.Errorf("%s: %w", s, err)
	}
	if n.BuildSpec != nil {
		if s.BuildSpec, err = ParseHash(n.BuildSpec.Hash); err != nil {
			return nil, fmt.Errorf("%s: build spec: %w", s, err)
		}
	}
	for _, e := range n.Dependencies {
		d, err := e.dependency()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s, err)
		}
		s.Dependencies = append(s.Dependencies, d)
	}
	return s, nil
}

func (n *node) compiler() string {
	if n.Compiler.Name != "" {
		return n.Compiler.Name + "@" + n.Compiler.Version
	}
	return strings.Replace(n.Annotations.Compiler, "@=", "@", 1)
}

// external goes by what Spack takes for true: the key with something in it.
func (n *node) external() (is bool, path string, err error) {
	switch string(bytes.Join(bytes.Fields(n.External), nil)) {
	case "", "null", "false", "{}":
		return false, "", nil
	}
	var e struct {
		Path string `json:"path"` // null where only a module is named
	}
	if err := json.Unmarshal(n.External, &e); err != nil {
		return false, "", fmt.Errorf("%w: external: %w", ErrFormat, err)
	}
	if hasControls(e.Path) {
		return false, "", fmt.Errorf("%w: external: %.80q holds control characters", ErrFormat, e.Path)
	}
	return true, e.Path, nil
}
