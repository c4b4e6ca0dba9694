package ctxio

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A dripping server sends so many bytes after each pause.
type dripping struct {
	ctx   context.Context
	pause time.Duration
	bytes int
	times int // then it ends; 0: never
}

func (d *dripping) Read(p []byte) (int, error) {
	if d.times == 1 {
		return 0, io.EOF
	}
	d.times = max(0, d.times-1)
	if err := Sleep(d.ctx, d.pause); err != nil {
		return 0, context.Cause(d.ctx)
	}
	return min(d.bytes, len(p)), nil
}

func TestATransferThatDripsIsBrokenOff(t *testing.T) {
	stalled := errors.New("stalled")
	const limit = 2 * time.Minute
	for what, c := range map[string]struct {
		pause, elsewhere time.Duration
		bytes, times     int
		brokenAfter      time.Duration // 0: it comes to its end
	}{
		"nothing comes":               {pause: time.Hour, bytes: 1, brokenAfter: limit},
		"a byte a second":             {pause: time.Second, bytes: 1, brokenAfter: limit},
		"a byte just before":          {pause: limit - time.Second, bytes: 1, brokenAfter: limit},
		"less than enough":            {pause: time.Second, bytes: Step / 121, brokenAfter: limit},
		"enough":                      {pause: time.Second, bytes: Step/119 + 1, times: 4000},
		"all at once, then nothing":   {pause: limit - time.Second, bytes: Step, times: 100},
		"a small document":            {pause: time.Second, bytes: 1, times: 100},
		"a caller who takes his time": {pause: time.Second, elsewhere: time.Hour, bytes: 1, times: 100},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				stall := Stall{Limit: limit, Break: func() { cancel(stalled) }}
				from, began, buffer := &dripping{ctx, c.pause, c.bytes, c.times}, time.Now(), make([]byte, Step)
				var err error
				for err == nil {
					_, err = stall.Read(from, buffer)
					time.Sleep(c.elsewhere)
				}
				switch took := time.Since(began); {
				case c.brokenAfter == 0 && err != io.EOF:
					t.Errorf("after %v: %v", took, err)
				case c.brokenAfter != 0 && (!errors.Is(err, stalled) || took != c.brokenAfter):
					t.Errorf("after %v, want %v: %v", took, c.brokenAfter, err)
				}
			})
		})
	}
}

func TestReadingAndWaitingEndWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := Reader(ctx, strings.NewReader("ab"))
	if n, err := r.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	if err := Sleep(ctx, 0); err != nil {
		t.Error(err)
	}
	cancel()
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := Sleep(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
