package torture

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"
)

// Faults are what happens to the requests of one program. The zero value is good weather.
type Faults struct {
	Latency  time.Duration `json:",omitempty"` // of each request; 0 is 50 ms
	SlowList time.Duration `json:",omitempty"` // of each page of a listing, besides

	KillAt int           `json:",omitempty"` // the program dies at its so-many-th write
	StopAt int           `json:",omitempty"` // it is stopped there, as by SIGSTOP
	Stop   time.Duration `json:",omitempty"` // for so long
	Behind bool          `json:",omitempty"` // death and stop come behind the effect of the write

	Every int  `json:",omitempty"` // one in so many requests fails
	Lie   int  `json:",omitempty"` // this page of all listings together is a lie
	Stale bool `json:",omitempty"` // the lie is that it is as it was five minutes ago; else it ends early
}

// The errors that requests come to when the client has given up.
var (
	errInternal = errors.New("500 InternalError")
	errSlowDown = errors.New("503 SlowDown")
	errLost     = errors.New("connection reset, no reply")
	errCut      = errors.New("unexpected EOF")
	errDenied   = errors.New("AccessDenied")
	errKilled   = errors.New("killed")
)

// fate is what happens to one request.
type fate int

const (
	works   fate = iota
	fails        // without effect
	loses        // with its effect, the reply is lost
	repeats      // the reply is lost, and the request sent again
	cuts         // the body breaks off
	partly       // of a batch, one key is refused
)

// fate decides by the seed of the program's step, and by what the request is, not by when it comes:
// requests that run beside each other have the same fate in each run of a history.
func (a *Actor) fate(op string, key string, n int) fate {
	if a.Faults.Every == 0 {
		return works
	}
	h := a.hash(op, key, n)
	if h%uint64(a.Faults.Every) != 0 {
		return works
	}
	switch kinds := (h >> 20) % 8; {
	case op == "get" && kinds < 4:
		return cuts
	case op == "put" && kinds < 3:
		return repeats
	case op == "delete" && kinds < 4:
		return partly
	case op != "get" && op != "list" && kinds < 6:
		return loses
	}
	return fails
}

func (a *Actor) hash(op, key string, n int) uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, a.Seed, op, key, n)
	x := h.Sum64() // FNV's low bits are poor: mix them
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	return x ^ x>>33
}

// pause sleeps.
func (a *Actor) pause(ctx context.Context, d time.Duration) error {
	return a.pauseFor(ctx, d, a.Seed)
}

// pauseFor sleeps, for nanoseconds more that depend on the request: no two wake at the same
// instant, so that their order is the same in each run.
func (a *Actor) pauseFor(ctx context.Context, d time.Duration, jitter uint64) error {
	t := time.NewTimer(d + time.Duration(jitter%1e6))
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
