package buildcache

import "fmt"

// A specFile is what a spec file of v2 or a spec blob of v3 says.
type specFile struct {
	nodes               []*Spec // the spec itself first, then the rest of its DAG; never empty
	layout              int     // how the tarball is made: 2 in v2 and v3
	algorithm, checksum string  // of the tarball as stored; v2 only
}

func parseSpecFile(data []byte) (*specFile, error) {
	var f struct {
		Spec struct {
			Meta struct {
				Version int `json:"version"`
			} `json:"_meta"`
			Nodes []*node `json:"nodes"`
		} `json:"spec"`
		Layout   int `json:"buildcache_layout_version"`
		Checksum struct {
			Algorithm string `json:"hash_algorithm"`
			Hash      string `json:"hash"`
		} `json:"binary_cache_checksum"`
	}
	if err := decode(data, &f); err != nil {
		return nil, err
	}
	if v := f.Spec.Meta.Version; v < 2 || v > 5 {
		return nil, fmt.Errorf("%w: specfile version %d is not known here (2 to 5)", ErrFormat, v)
	}
	if f.Layout != 2 {
		return nil, fmt.Errorf("%w: tarball layout %d is not known here, only 2: push the package again with a newer Spack", ErrFormat, f.Layout)
	}
	if len(f.Spec.Nodes) == 0 {
		return nil, fmt.Errorf("%w: the spec has no nodes", ErrFormat)
	}
	file := &specFile{layout: f.Layout, algorithm: f.Checksum.Algorithm, checksum: f.Checksum.Hash}
	for _, n := range f.Spec.Nodes {
		s, err := n.spec()
		if err != nil {
			return nil, err
		}
		file.nodes = append(file.nodes, s)
	}
	return file, nil
}
