package buildcache

import "fmt"

// A specFile is what a spec file of v2 or a spec blob of v3 says.
type specFile struct {
	nodes               []*Spec // the spec itself first, then the rest of its DAG; never empty
	version             int     // of the format
	layout              int     // how the tarball is made: 1 up to Spack 0.21, 2 since
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
	if err := SpecFileFormat.Check(f.Spec.Meta.Version); err != nil {
		return nil, err
	}
	if err := TarballFormat.Check(f.Layout); err != nil {
		return nil, fmt.Errorf("%w: push the package again with a newer Spack", err)
	}
	if len(f.Spec.Nodes) == 0 {
		return nil, fmt.Errorf("%w: the spec has no nodes", ErrFormat)
	}
	file := &specFile{version: f.Spec.Meta.Version, layout: f.Layout, algorithm: f.Checksum.Algorithm, checksum: f.Checksum.Hash}
	for _, n := range f.Spec.Nodes {
		s, err := n.spec()
		if err != nil {
			return nil, err
		}
		file.nodes = append(file.nodes, s)
	}
	return file, nil
}

// notes are about what is newer than what was tried.
func (f *specFile) notes() []string {
	var notes []string
	for _, note := range []string{SpecFileFormat.Note(f.version), TarballFormat.Note(f.layout)} {
		if note != "" {
			notes = append(notes, note)
		}
	}
	return notes
}

// SpecFileNodes reads the nodes of a spec file or spec blob that is there as a whole: the spec
// itself first, then the rest of its DAG.
func SpecFileNodes(text []byte) ([]*Spec, error) {
	f, err := parseSpecFile(text)
	if err != nil {
		return nil, err
	}
	return f.nodes, nil
}
