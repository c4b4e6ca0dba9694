package ui

import (
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Transfers show blobs on their way to a registry: a task for each, and in a log a line for each
// large one that has arrived.
type Transfers struct{ Progress *Progress }

// A Transfer is one blob on its way.
type Transfer interface {
	Sent(bytes int)
	End(complete bool)
}

// worthALine is the size from which a blob's way is worth a line of log.
const worthALine = 1 << 20

// Begin shows a blob, whose bytes are about to be sent to a repository.
func (t Transfers) Begin(repository string, blob v1.Hash, size int64) Transfer {
	name := blob.Hex[:min(12, len(blob.Hex))] + " to " + repository
	return &transfer{ui: t.Progress.ui, task: t.Progress.Begin(name), name: name, size: size, began: time.Now()}
}

type transfer struct {
	ui    *UI
	task  *Task
	name  string
	size  int64
	began time.Time

	mu    sync.Mutex
	sent  int64
	ended bool
}

// Sent satisfies Transfer.
func (t *transfer) Sent(bytes int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent += int64(bytes)
	t.task.Count("sent", t.sent, t.size, Bytes)
}

// End satisfies Transfer. What breaks off is sent anew, as a task of its own.
func (t *transfer) End(complete bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return
	}
	t.ended = true
	t.task.End()
	if complete && t.size >= worthALine && !t.ui.live {
		t.ui.Log.Info("sent "+t.name, "size", Size(t.size), "took", Took(time.Since(t.began)))
	}
}
