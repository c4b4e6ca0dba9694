package ui

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// Transfers show blobs on their way to a registry: a bar for each on a
// terminal, a line for each large one elsewhere. Close draws the last state.
type Transfers interface {
	// Begin shows a blob, whose bytes are about to be sent to a repository.
	Begin(repository string, blob v1.Hash, size int64) Transfer
	Close()
}

// A Transfer is one blob on its way.
type Transfer interface {
	Sent(bytes int)
	End(complete bool)
}

// Bars draws a bar for each blob on its way. Close draws the last state.
type Bars struct{ all *mpb.Progress }

// NewBars draws on a terminal.
func NewBars(terminal io.Writer) *Bars {
	return &Bars{mpb.New(mpb.WithOutput(terminal), mpb.WithWidth(40), mpb.WithRefreshRate(150*time.Millisecond), mpb.WithAutoRefresh())}
}

// Begin satisfies Transfers.
func (b *Bars) Begin(_ string, blob v1.Hash, size int64) Transfer {
	bar := b.all.AddBar(size,
		mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(shortDigest(blob)+" ")),
		mpb.AppendDecorators(decor.Counters(decor.SizeB1024(0), "% .1f / % .1f "), decor.AverageSpeed(decor.SizeB1024(0), "% .1f")),
	)
	return barTransfer{bar}
}

// Close waits until the bars are drawn.
func (b *Bars) Close() { b.all.Shutdown() }

type barTransfer struct{ bar *mpb.Bar }

func (t barTransfer) Sent(bytes int) { t.bar.IncrBy(bytes) }

func (t barTransfer) End(complete bool) {
	if complete {
		t.bar.SetTotal(-1, true)
	} else {
		t.bar.Abort(true) // it is sent anew, with a bar of its own
	}
}

// Lines says a line for each large blob that was sent.
type Lines struct{ Say func(string) }

// worthALine is the size from which a blob's way is worth a line.
const worthALine = 1 << 20

// Begin satisfies Transfers.
func (l Lines) Begin(repository string, blob v1.Hash, size int64) Transfer {
	return &lineTransfer{say: l.Say, what: fmt.Sprintf("%s to %s", shortDigest(blob), repository), size: size, began: time.Now()}
}

// Close has nothing to wait for.
func (Lines) Close() {}

type lineTransfer struct {
	say   func(string)
	what  string
	size  int64
	began time.Time
	once  sync.Once
}

func (*lineTransfer) Sent(int) {}

func (t *lineTransfer) End(complete bool) {
	t.once.Do(func() {
		if complete && t.size >= worthALine {
			t.say(fmt.Sprintf("sent %s: %s in %s", t.what, humanize.IBytes(uint64(t.size)), time.Since(t.began).Round(time.Millisecond)))
		}
	})
}

func shortDigest(blob v1.Hash) string { return blob.Hex[:min(12, len(blob.Hex))] }
