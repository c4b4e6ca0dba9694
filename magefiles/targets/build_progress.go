package targets

import (
	"context"
	"sync"

	"github.com/openbraininstitute/spacktainers/internal/podman"
	"github.com/openbraininstitute/spacktainers/internal/ui"
)

// buildProgress shows what builds tell: a task for each container and platform. The full logs are in
// files.
type buildProgress struct {
	*ui.Progress
	app *app

	mu    sync.Mutex
	tasks map[string]*ui.Task
}

func (a *app) newProgress(ctx context.Context) *buildProgress {
	return &buildProgress{Progress: a.Progress(ctx), app: a, tasks: map[string]*ui.Task{}}
}

// event takes what a build tells.
func (p *buildProgress) event(e podman.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	who := e.Container + " " + e.Platform
	task := p.tasks[who]
	switch {
	case e.Note != "":
		p.app.Log.Warn(who, "note", e.Note)
		return
	case e.Done:
		if task != nil {
			task.End()
		}
		delete(p.tasks, who)
		return
	case task == nil:
		task = p.Begin(who)
		p.tasks[who] = task
	}
	switch {
	case e.Package == "" && e.Of > 0:
		task.Count(e.Step, int64(e.Installed), int64(e.Of), ui.Things)
	case e.Package == "":
		task.Step(e.Step)
	default:
		task.Item(e.Step, e.Installed+1, e.Of, e.Package)
	}
}
