package targets

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/container"
	"github.com/openbraininstitute/spacktainers/internal/podman"
	"github.com/openbraininstitute/spacktainers/internal/ui"
)

// Plan says what containers would build, and why: for each container and
// platform whether it is up to date in out/images or the first registry, or
// which input has changed since. What has no lockfile yet is concretized.
func (Containers) Plan(ctx context.Context,
	name *string, // the containers to look at, by commas (default: all); may stand without its flag
	platform *string, // linux/amd64 or linux/arm64 (default: all)
	mirror *string, // build cache whose packages are preferred (default: the platform's)
	registry *string, // prefix to ask what is there (default: the first configured one; none: ask no registry)
	spackRef *string, // --spack-ref: branch, tag or commit of Spack for the builder (default: the configured one)
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	a, err := startWith(spackRef)
	if err != nil {
		return err
	}
	defs, err := a.environments(platform)
	if name != nil {
		defs, err = a.findAll(*name, platform)
	}
	if err != nil {
		return err
	}
	scheduler, containers, err := a.scheduler(ctx, defs, podmanOptions{mirror: mirror, registry: registry})
	if err != nil {
		return err
	}
	defer scheduler.Close()
	progress := a.newProgress(ctx)
	scheduler.Watch = progress.event
	missing := scheduler.Missing(ctx, containers)
	plans, errs := scheduler.Plan(ctx, containers)
	progress.Close()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	err = errors.Join(errs...)
	if len(missing) > 0 {
		err = &sourcesError{missing}
		for i := range errs {
			if errs[i] != nil && len(missing) > 1 {
				errs[i] = fmt.Errorf("%d things that it is made of do not answer: see below", len(missing))
			}
		}
	}
	return errors.Join(a.showPlans(plans, errs, or(json, false)), err)
}

// A plannedContainer is a plan as containers:plan shows it.
type plannedContainer struct {
	Name     string             `json:"name"`
	Platform string             `json:"platform"`
	State    string             `json:"state"`           // up to date, to build, or unknown
	Where    string             `json:"where,omitempty"` // what it was compared with: out or registry
	Version  string             `json:"version,omitempty"`
	BuildKey string             `json:"build_key,omitempty"`
	Changes  []container.Change `json:"changes,omitempty"`
	Error    string             `json:"error,omitempty"`
}

func (a *app) showPlans(plans []podman.Plan, errs []error, asJSON bool) error {
	list := []plannedContainer{}
	var rows []planRow
	for i, p := range plans {
		c := plannedContainer{
			Name: p.Container.Name, Platform: p.Container.Platform, State: "to build", Where: p.Where,
			Version: p.Record.Version, BuildKey: p.Record.BuildKey, Changes: p.Changes,
		}
		var why []string
		switch {
		case errs[i] != nil:
			c.State, c.Error = "unknown", errs[i].Error()
			why = append(why, firstLine(errs[i]))
			if p.Where == "out" {
				why = append(why, "out has "+p.Record.Version)
			}
			for _, change := range p.Changes {
				why = append(why, change.String())
			}
		case p.UpToDate:
			c.State = "up to date"
			why = append(why, "in "+p.Where)
		default:
			why = reasons(p, "there is none")
		}
		rows = append(rows, planRow{[]string{c.Name}, c.Platform, c.State, why})
		list = append(list, c)
	}
	if asJSON {
		return a.JSON(list)
	}
	var cells [][]string
	for _, row := range joinRows(rows) {
		cells = append(cells, row.cells()...)
	}
	return a.Table([]string{"container", "platform", "state", "why"}, cells)
}

// A planRow is what a table says of containers.
type planRow struct {
	names           []string
	platform, state string
	why             []string
}

// joinRows makes one row of all containers whose state is unknown for the same reason. Of those that
// would be built each has its own.
func joinRows(rows []planRow) (joined []planRow) {
	for _, row := range rows {
		same := func(other planRow) bool {
			return row.state == "unknown" && other.state == row.state && other.platform == row.platform && slices.Equal(other.why, row.why)
		}
		if i := slices.IndexFunc(joined, same); i >= 0 {
			joined[i].names = append(joined[i].names, row.names...)
		} else {
			joined = append(joined, row)
		}
	}
	return joined
}

// cells has a line for each reason; the first one says of what it is.
func (r planRow) cells() (lines [][]string) {
	for i, reason := range r.why {
		line := []string{"", "", "", reason}
		if i == 0 {
			line = []string{ui.Some(r.names), r.platform, r.state, reason}
		}
		lines = append(lines, line)
	}
	return lines
}

// firstLine is what a row has room for of an error, which follows in full. The
// row says already of what it is.
func firstLine(err error) string {
	if inner := errors.Unwrap(err); inner != nil {
		err = inner
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
