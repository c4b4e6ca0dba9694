package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/ctxio"
	"github.com/openbraininstitute/spacktainers/internal/filelock"
)

// lockName is a file that stays in the folder, empty. Folders themselves
// cannot be locked on NFS.
const lockName = TempPrefix + "lock"

// lock waits until no other writer, of this process or another, holds the
// folder.
func lock(ctx context.Context, root *os.Root) (unlock func(), err error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		l, err := filelock.Try(root, lockName)
		if err == nil {
			return func() { l.Close() }, nil
		}
		if !errors.Is(err, filelock.ErrHeld) {
			return nil, fmt.Errorf("lock the folder: %w", err)
		}
		if err := ctxio.Sleep(ctx, 2*time.Millisecond); err != nil {
			return nil, err
		}
	}
}
