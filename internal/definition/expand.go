package definition

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/openbraininstitute/spacktainers/internal/abstract"
)

// A wish is a spec that an environment asks for, with matrices and lists written out.
type wish struct {
	text string // as written, or as put together
	spec abstract.Spec
	sure bool // that spec is all that is asked for
}

// wishes lists what the definition asks for, in its order. Complete is false where more may be
// asked for than can be told here: by lists under a condition or of an included file, and by
// included environments.
func (d Definition) wishes(legacy bool) (list []wish, complete bool) {
	e := expansion{legacy: legacy, complete: true}
	if d.Spack == nil { // without a file: in tests, and by hand
		for _, text := range d.Specs {
			list = append(list, e.text(text, 0)...)
		}
		return list, e.complete
	}
	e.definitions = get(d.Spack, "definitions")
	list = e.specs(get(d.Spack, "specs"), 0)
	if get(d.Spack, "include") != nil || get(d.Spack, "include_concrete") != nil {
		e.complete = false
	}
	return list, e.complete
}

// maxWishes bounds what matrices multiply to.
const maxWishes = 10_000

// An expansion writes out the lists of one environment.
type expansion struct {
	definitions *yaml.Node
	legacy      bool
	complete    bool
}

func (e *expansion) specs(specs *yaml.Node, depth int) (list []wish) {
	if specs == nil || depth > 100 { // lists may refer to each other
		e.complete = e.complete && specs == nil
		return nil
	}
	for _, item := range specs.Content {
		switch {
		case isNull(item):
		case item.Kind == yaml.MappingNode && get(item, "specs") != nil: // a group
			list = append(list, e.specs(get(item, "specs"), depth+1)...)
		case item.Kind == yaml.MappingNode:
			list = append(list, e.matrix(item, depth+1)...)
		default:
			list = append(list, e.text(item.Value, depth+1)...)
		}
		if len(list) > maxWishes {
			e.complete = false
			return list[:maxWishes]
		}
	}
	return list
}

// text reads one spec, or what a reference stands for: $list, or $^list and $%list for
// dependencies.
func (e *expansion) text(text string, depth int) []wish {
	if reference, ok := strings.CutPrefix(strings.TrimSpace(text), "$"); ok {
		name := strings.TrimLeft(reference, "^%")
		return e.sigil(e.list(name, depth), reference[:len(reference)-len(name)])
	}
	spec, err := abstract.Parse(text, e.legacy)
	if err != nil { // the check of the file has reported it
		e.complete = false
		return nil
	}
	return []wish{{text, spec, true}}
}

// list puts together the definitions of a name. One under a condition may count or not.
func (e *expansion) list(name string, depth int) (list []wish) {
	found := false
	if e.definitions != nil {
		for _, entry := range e.definitions.Content {
			value := get(entry, name)
			if value == nil || name == "when" {
				continue
			}
			found = true
			if get(entry, "when") != nil {
				e.complete = false
				continue
			}
			list = append(list, e.specs(value, depth+1)...)
		}
	}
	e.complete = e.complete && found
	return list
}

// sigil makes dependencies of specs.
func (e *expansion) sigil(list []wish, sigil string) []wish {
	if sigil == "" {
		return list
	}
	for i, w := range list {
		spec, err := abstract.Parse(sigil+w.text, e.legacy)
		if err != nil {
			e.complete = false
			continue
		}
		list[i] = wish{sigil + w.text, spec, w.sure}
	}
	return list
}

// matrix multiplies its rows, and leaves out what it excludes.
func (e *expansion) matrix(matrix *yaml.Node, depth int) []wish {
	rows := get(matrix, "matrix")
	if rows == nil {
		return nil
	}
	products := []wish{{sure: true}}
	for _, row := range rows.Content {
		var next []wish
		for _, left := range products {
			for _, right := range e.specs(row, depth) {
				both, ok := left.spec.Constrain(right.spec)
				next = append(next, wish{strings.TrimSpace(left.text + " " + right.text), both, ok && left.sure && right.sure})
			}
			if len(next) > maxWishes {
				e.complete = false
				return nil
			}
		}
		products = next
	}
	excludes := e.specs(get(matrix, "exclude"), depth)
	kept := products[:0]
	for _, w := range products {
		excluded := abstract.No
		for _, x := range excludes {
			excluded = max(excluded, w.spec.Includes(x.spec))
		}
		if excluded == abstract.Maybe {
			e.complete, w.sure = false, false
		}
		if excluded != abstract.Yes {
			kept = append(kept, w)
		}
	}
	return kept
}
