package targets

import (
	"context"
	"strconv"

	"github.com/openbraininstitute/spacktainers/internal/ui"
	"github.com/openbraininstitute/spacktainers/janitor"
)

// Migrate lists what versions without a waiting room have left in the build
// cache: journals, and copies of what they had deleted. It brings the copies of
// a run back, or removes all of it.
func (Janitor) Migrate(ctx context.Context,
	mirror *string, // build caches, by commas (default: those of the platforms)
	restore *string, // RUN: bring back what this run has deleted, as far as it has kept copies
	remove *bool, // remove all journals and copies
	dryRun *bool, // --dry-run: only list
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	if restore != nil && or(remove, false) {
		return wrongCall("--restore and --remove: one after the other")
	}
	run := janitorRun{app: a, dry: or(dryRun, false), json: or(json, false)}
	return run.each(ctx, mirror, func(m *mirrorStore) error {
		j, err := run.janitor(m)
		if err != nil {
			return err
		}
		var res janitor.Result
		switch {
		case run.dry || restore == nil && !or(remove, false):
			return run.showOldRuns(ctx, m, j)
		case restore != nil:
			res, err = j.Restore(ctx, *restore)
		default:
			res, err = j.RemoveOldRuns(ctx)
		}
		if err != nil {
			return err
		}
		a.Log.Info("done", "objects", res.Objects, "specs", res.Specs)
		return run.show(migrated{Mirror: m.url, Result: &res})
	})
}

// A migrated mirror is what janitor:migrate says of it to machines.
type migrated struct {
	Mirror string           `json:"mirror"`
	Runs   []janitor.OldRun `json:"runs,omitempty"` // that are listed
	Result *janitor.Result  `json:"result,omitempty"`
}

func (r janitorRun) showOldRuns(ctx context.Context, m *mirrorStore, j janitor.Janitor) error {
	runs, err := j.OldRuns(ctx)
	if err != nil {
		return err
	}
	if r.json {
		return r.JSON(migrated{Mirror: m.url, Runs: runs})
	}
	var rows [][]string
	for _, run := range runs {
		rows = append(rows, []string{run.Run, strconv.Itoa(run.Objects), ui.Size(run.Bytes)})
	}
	if len(rows) == 0 {
		r.Log.Info("earlier versions have left nothing here")
		return nil
	}
	return r.Table([]string{"run", "copies", "size"}, rows)
}
