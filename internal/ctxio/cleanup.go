package ctxio

import (
	"context"
	"time"
)

// cleanUpTime is how long cleaning up goes on once its context has ended: who has pressed Ctrl-C waits
// for it, and mage does for five seconds.
const cleanUpTime = 1500 * time.Millisecond

// CleanUp returns a context for what has to be done also when ctx has ended, such as giving back a
// lock. It lasts for limit, and only a moment more once ctx has ended.
func CleanUp(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	outlives, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(cleanUpTime, cancel) })
	return outlives, func() { stop(); cancel() }
}
