package definition

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/openbraininstitute/spacktainers/internal/yamlstrict"
)

// An Error is a mistake in a definition, and where it is. Its path is relative
// to the repository.
type Error struct {
	Definition string `json:"definition"` // the definition's name; empty where the mistake is in none
	yamlstrict.Mistake
	of *Definition // as far as it could be read; nil where the mistake is in none
}

// Errors are all the mistakes that Load found, sorted by position.
type Errors []*Error

// Error lists the mistakes, one a line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives errors.As and errors.Is the single mistakes.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, err := range e {
		errs[i] = err
	}
	return errs
}

// in selects the mistakes in one definition.
func (e Errors) in(d Definition) Errors {
	return slices.DeleteFunc(slices.Clone(e), func(err *Error) bool {
		return err.of == nil || err.of.Name != d.Name || err.of.Platform != d.Platform
	})
}

func (e Errors) sort() {
	slices.SortStableFunc(e, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Message, b.Message))
	})
}

// problems collects the mistakes of one file.
type problems struct {
	of    *Definition // what the file belongs to; nil for none
	path  string
	found Errors
}

func (p *problems) add(line, column int, format string, args ...any) {
	p.mistake(&yamlstrict.Mistake{Path: p.path, Line: line, Column: column, Message: fmt.Sprintf(format, args...)})
}

func (p *problems) mistake(m *yamlstrict.Mistake) {
	e := &Error{Mistake: *m, of: p.of}
	if p.of != nil {
		e.Definition = p.of.Name
	}
	p.found = append(p.found, e)
}

func (p *problems) at(n *yaml.Node, format string, args ...any) {
	p.add(n.Line, n.Column, format, args...)
}

func (p *problems) file(format string, args ...any) {
	p.add(0, 0, format, args...)
}

// reason drops the operation and the path, which the report has already, and
// puts what os.Root says about links into words.
func reason(err error) string {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		err = pathError.Err
	}
	switch {
	case strings.Contains(err.Error(), "escapes from parent"):
		return "leads outside"
	case errors.Is(err, fs.ErrNotExist):
		return "does not exist"
	}
	return err.Error()
}
