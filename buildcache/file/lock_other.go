//go:build !unix

package file

import (
	"context"
	"errors"
	"os"
)

func lock(context.Context, *os.Root) (func(), error) {
	return nil, errors.New("writing needs a system with file locks")
}
