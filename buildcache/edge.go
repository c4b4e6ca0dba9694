package buildcache

import "fmt"

// An edge is a dependency as JSON has it.
type edge struct {
	Name       string   `json:"name"`
	Hash       string   `json:"hash"`
	Type       []string `json:"type"` // up to specfile version 3
	Parameters struct {
		Types    []string `json:"deptypes"`
		Virtuals []string `json:"virtuals"`
	} `json:"parameters"`
}

func (e edge) dependency() (Dependency, error) {
	if e.Name != "" {
		if err := CheckName(e.Name); err != nil {
			return Dependency{}, fmt.Errorf("dependency: %w", err)
		}
	}
	hash, err := ParseHash(e.Hash)
	if err != nil {
		return Dependency{}, fmt.Errorf("dependency %q: %w", e.Name, err)
	}
	names := e.Parameters.Types
	if names == nil {
		names = e.Type
	}
	if names == nil {
		return Dependency{}, fmt.Errorf("dependency %q: %w: no types", e.Name, ErrFormat)
	}
	types, err := parseDepTypes(names)
	if err != nil {
		return Dependency{}, fmt.Errorf("dependency %q: %w", e.Name, err)
	}
	return Dependency{Name: e.Name, Hash: hash, Types: types, Virtuals: e.Parameters.Virtuals}, nil
}

// parseDepTypes refuses an unknown type: a caller that leaves an edge out takes
// what it leads to for unused.
func parseDepTypes(names []string) (DepTypes, error) {
	var types DepTypes
	for _, name := range names {
		switch name {
		case "build":
			types |= Build
		case "link":
			types |= Link
		case "run":
			types |= Run
		case "test":
			types |= Test
		default:
			return 0, fmt.Errorf("%w: unknown dependency type %q", ErrFormat, name)
		}
	}
	return types, nil
}
