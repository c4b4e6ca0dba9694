package podman

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/atomicfile"
	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/filelock"
)

// A build in podman works in containers, which it removes when it ends by itself and leaves in
// podman's storage, as large as an image, when it is killed. So each build is written down while it
// lasts, and the next run removes the working containers that came to be meanwhile.

// A buildRecord is a build of this machine's podman that is not over, or was killed. The time at
// which its file was last written is when it was last alive.
type buildRecord struct {
	Began  time.Time `json:"began"`
	Before []string  `json:"before"` // working containers that were there already
}

// alive is how often a build that lasts shows it.
const alive = 10 * time.Second

// recorded runs a build that is written down meanwhile. Where that cannot be done it runs all the
// same: all that is lost is room on the disk.
func (p Podman) recorded(ctx context.Context, build func() error) error {
	if p.Builds == "" || p.URL != "" {
		return build()
	}
	end, err := p.record(ctx)
	if err != nil {
		return build()
	}
	err = build()
	end(ctx.Err() == nil)
	return err
}

// record writes a build down. What it returns ends that, and removes the record where podman has
// tidied up.
func (p Podman) record(ctx context.Context) (end func(tidy bool), err error) {
	before, err := p.workingContainers(ctx)
	if err != nil {
		return nil, err
	}
	r := buildRecord{Began: time.Now()}
	for _, c := range before {
		r.Before = append(r.Before, c.id)
	}
	text, err := json.Marshal(r)
	if err == nil {
		err = os.MkdirAll(p.Builds, 0o755)
	}
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(p.Builds)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%d-%d", r.Began.UnixNano(), os.Getpid())
	path := filepath.Join(p.Builds, name+".json")
	lock, err := filelock.Try(root, name+".lock")
	if err == nil {
		err = atomicfile.Write(path, text, 0o644)
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(alive)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case now := <-tick.C:
				_ = os.Chtimes(path, now, now)
			}
		}
	}()
	return func(tidy bool) {
		close(done)
		now := time.Now()
		_ = os.Chtimes(path, now, now)
		if tidy {
			_ = os.Remove(path)
		}
		lock.Close()
		if tidy {
			_ = root.Remove(name + ".lock")
		}
		root.Close()
	}, nil
}

// RemoveLeftovers removes the working containers of builds that were killed, and returns how many
// there were. Podman does not say whose one is: only that goes which came to be while such a build
// lasted, and which nobody else can have made. What may be somebody's stays, and the error says why
// and how to remove it.
func (p Podman) RemoveLeftovers(ctx context.Context) (removed int, err error) {
	records, err := filepath.Glob(filepath.Join(p.Builds, "*.json"))
	if err != nil || len(records) == 0 || p.Builds == "" {
		return 0, err
	}
	root, err := os.OpenRoot(p.Builds)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	now, err := p.workingContainers(ctx)
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, path := range records {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		lock, err := filelock.Try(root, name+".lock")
		if errors.Is(err, filelock.ErrHeld) {
			continue
		}
		if err == nil {
			var n int
			n, err = p.removeOf(ctx, path, now)
			removed += n
			lock.Close()
		}
		if err == nil {
			err = errors.Join(os.Remove(path), root.Remove(name+".lock"))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return removed, errors.Join(errs...)
}

// removeOf removes what the build of a record has left among the working containers.
func (p Podman) removeOf(ctx context.Context, path string, now []workingContainer) (int, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	var r buildRecord
	if err := json.Unmarshal(text, &r); err != nil {
		return 0, nil // cut off: it tells of nothing that could be removed
	}
	owner := p.Owner
	if owner == nil {
		owner = ownerOf
	}
	var ids []string
	var why string
	for _, c := range now {
		during := !c.created.Before(r.Began.Add(-time.Second)) && c.created.Before(info.ModTime().Add(alive+time.Second))
		if during && !slices.Contains(r.Before, c.id) {
			ids = append(ids, c.id)
			why = cmp.Or(why, owner(c.created))
		}
	}
	switch {
	case len(ids) == 0:
		return 0, nil
	case why != "":
		return 0, fmt.Errorf("%s; if nobody needs them: podman rm --force %s", why, strings.Join(ids, " "))
	}
	cmd := p.command(append([]string{"rm", "--force"}, ids...)...)
	cmd.Stdout = discard{}
	return len(ids), p.Run(ctx, cmd)
}

// A workingContainer is one that a build has made, and podman itself knows only as storage.
type workingContainer struct {
	id      string
	created time.Time
}

func (p Podman) workingContainers(ctx context.Context) (found []workingContainer, err error) {
	c := p.command("ps", "--all", "--external", "--format=json")
	text, err := command.Output(ctx, p.Run, c)
	if err != nil {
		return nil, err
	}
	var listed []struct {
		ID      string `json:"Id"`
		Command []string
		Created int64
	}
	if text == "" {
		return nil, nil
	}
	if err := json.Unmarshal([]byte(text), &listed); err != nil {
		return nil, fmt.Errorf("podman ps: %w", err)
	}
	for _, l := range listed {
		if slices.Equal(l.Command, []string{"buildah"}) {
			found = append(found, workingContainer{l.ID, time.Unix(l.Created, 0)})
		}
	}
	return found, nil
}

// ownerOf says who else may have made a working container at some time, or "" where it is proved
// that nobody has: builds that are at work are older than what they work in, and only buildah makes
// some that stay when it ends.
func ownerOf(created time.Time) string {
	if _, err := command.LookPath("buildah"); err == nil {
		return "buildah is installed, whose working containers stay when it ends"
	}
	atWork, known := command.Started("podman", "buildah")
	switch {
	case !known:
		return "it cannot be told which programs are at work"
	case slices.ContainsFunc(atWork, func(at time.Time) bool { return !at.After(created.Add(2 * time.Second)) }):
		return "podman that is at work may have made them"
	}
	return ""
}
