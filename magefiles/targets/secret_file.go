package targets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// The variables that name files with keys and credentials. Each has a sibling,
// NAME_CONTENT, for CI systems that can only hold the content itself.
const (
	publicKeyVariable  = "SPACK_DEPLOYMENT_KEY_PUBLIC"
	privateKeyVariable = "SPACK_DEPLOYMENT_KEY_PRIVATE"
	gitVariable        = "SPACKTAINERS_GIT_CREDENTIALS"
)

// A secretFile is the file that a variable names, or its content.
type secretFile struct {
	variable, path, content string
}

// given reports whether there is one.
func (f secretFile) given() bool { return f.path != "" || f.content != "" }

// read returns the content; none where nothing is given. No error repeats the
// value of the variable: people put the content where the path belongs.
func (f secretFile) read() ([]byte, error) {
	switch {
	case f.path != "" && f.content != "":
		return nil, fmt.Errorf("both %s and %s_CONTENT are set: which one?", f.variable, f.variable)
	case f.path == "":
		return []byte(f.content), nil
	}
	text, err := os.ReadFile(f.path)
	if err != nil {
		var failed *fs.PathError
		if errors.As(err, &failed) {
			err = failed.Err
		}
		return nil, fmt.Errorf("the file that %s names cannot be read: %w: for the content itself there is %s_CONTENT", f.variable, err, f.variable)
	}
	return text, nil
}
