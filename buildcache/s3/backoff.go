package s3

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/ctxio"
)

// A backoff is the longest pause between two attempts. Pauses are drawn from
// twice the former range each time, beginning with 100 ms, so that clients
// that failed together do not come back together.
type backoff time.Duration

// BackoffDelay implements retry.BackoffDelayer.
func (b backoff) BackoffDelay(attempt int, _ error) (time.Duration, error) {
	longest := min(time.Duration(b), 100*time.Millisecond<<min(max(attempt, 0), 10))
	return rand.N(longest + 1), nil
}

func (b backoff) wait(ctx context.Context, attempt int) error {
	pause, err := b.BackoffDelay(attempt, nil)
	if err != nil {
		return err
	}
	return ctxio.Sleep(ctx, pause)
}
