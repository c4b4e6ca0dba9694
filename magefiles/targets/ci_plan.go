package targets

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/definition"
	"github.com/openbraininstitute/spacktainers/internal/pipeline"
	"github.com/openbraininstitute/spacktainers/internal/podman"
	"github.com/openbraininstitute/spacktainers/internal/ui"
)

// Plan shows all that is to be built as one graph: the packages that the locks of
// all containers need and the build caches do not have, each once, containers that
// are not up to date, base images, publications and SIFs, with reasons and the
// critical path. It reads lockfiles, indexes and registries, and writes nothing.
func (Ci) Plan(ctx context.Context,
	name *string, // the container to plan for (default: all); may stand without its flag
	platform *string, // linux/amd64 or linux/arm64 (default: all)
	mirror *string, // build cache whose packages need not be built (default: the platform's, and where it is no release the branches')
	registry *string, // prefix to ask what is published (default: the first configured one; none: what is built in out/ counts instead)
	force *bool, // plan also for what is up to date
	release *bool, // at a shell: as for a release, which reads no build cache of branches (CI: on the protected default branch)
	whyMiss *bool, // --why-miss: say of each container what its packages miss for, as containers:why-miss does
	markdown *bool, // for a merge request: also which packages change of what is published
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	done := a.busy(ctx, "plan", "reading lockfiles, indexes and registries")
	graph, err := a.plan(ctx, planOptions{name: name, platform: platform, mirror: mirror, registry: registry, release: release, force: or(force, false), whyMiss: or(whyMiss, false), diff: or(markdown, false) || or(json, false) || a.Summary != ""})
	done()
	switch {
	case err != nil:
		return err
	case or(json, false):
		return a.JSON(graph)
	case or(markdown, false):
		return a.Text(graph.Markdown())
	}
	return a.showGraph(graph)
}

func (a *app) showGraph(g *pipeline.Graph) error {
	critical := map[string]bool{}
	for _, id := range g.Critical {
		critical[id] = true
	}
	var rows [][]string
	for _, s := range g.Steps {
		name := s.Name
		if s.Kind == pipeline.Package {
			name += "@" + s.Version + "/" + string(s.Hash[:7])
		}
		why := strings.Join(s.Why, ", ")
		if s.Kind == pipeline.Package {
			why = "for " + strings.Join(s.Containers, ", ")
		}
		if s.Bytes > 0 {
			why += "; it has " + ui.Size(s.Bytes) + " now"
		}
		mark := ""
		if critical[s.ID] {
			mark = "*"
		}
		rows = append(rows, []string{string(s.Kind), name, s.Platform, ui.Took(s.Time()), mark, why})
	}
	if len(rows) > 0 {
		if err := a.TableWith(g.Markdown(), []string{"step", "what", "platform", "about", "critical", "why"}, rows); err != nil {
			return err
		}
	}
	a.Log.Info(g.Summary(), "work", ui.Took(seconds(g.Work)), "at-least", ui.Took(seconds(g.Seconds)), "up-to-date", g.UpToDate, "in-build-caches", g.Cached)
	if g.Unneeded > 0 {
		a.Log.Info("packages of containers that are up to date are in no build cache: --force plans them, too", "packages", g.Unneeded)
	}
	return nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

type planOptions struct {
	name, platform, mirror, registry *string
	release                          *bool
	force, whyMiss                   bool
	diff                             bool // say which packages change of what is published
}

// plan reads definitions, lockfiles, indexes and registries, and makes one graph of what is to be
// done. Nothing is built, started or written.
func (a *app) plan(ctx context.Context, o planOptions) (*pipeline.Graph, error) {
	all, err := a.planned(o)
	if err != nil {
		return nil, err
	}
	defs := ofKind(all, definition.Environment)
	isRelease, _, err := a.release(ctx, o.release)
	if err != nil {
		return nil, err
	}
	request := pipeline.Request{
		Publish: len(a.config.Registries) > 0, SIF: a.config.SIFs != "", Cached: map[string]func(buildcache.Hash) bool{},
		Times: a.config.times(),
	}
	var mu sync.Mutex
	group, gctx := errgroup.WithContext(ctx)
	for platform := range platformsOf(defs) {
		group.Go(func() error {
			has, err := a.mirrored(gctx, or(o.mirror, a.config.Platforms[platform].Mirror), isRelease)
			mu.Lock()
			defer mu.Unlock()
			request.Cached[platform] = has
			return err
		})
	}
	group.Go(func() (err error) {
		request.Containers, err = a.plannedContainers(gctx, defs, o)
		return err
	})
	var files []pipeline.Container
	if isRelease {
		if request.SIF { // those of definition files belong to no branch
			group.Go(func() (err error) {
				files, err = a.plannedFiles(gctx, ofKind(all, definition.Apptainer), o)
				return err
			})
		}
		group.Go(func() (err error) {
			request.Bases, err = a.plannedBases(gctx, platformsOf(defs), o.registry)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if o.diff {
		if err := a.addDiffs(ctx, request.Containers, o.registry); err != nil {
			return nil, err
		}
	}
	if o.whyMiss {
		if err := a.addCauses(ctx, request.Containers, o.mirror, isRelease); err != nil {
			return nil, err
		}
	}
	request.Containers = append(request.Containers, files...)
	return pipeline.New(request)
}

// planned returns the definitions to plan for.
func (a *app) planned(o planOptions) ([]definition.Definition, error) {
	if o.name != nil {
		return a.find(*o.name, o.platform)
	}
	return a.definitions(o.platform)
}

func platformsOf(defs []definition.Definition) map[string]bool {
	found := map[string]bool{}
	for _, d := range defs {
		found[d.Platform] = true
	}
	return found
}

// readMirrors are those that a build may read, of which some may be empty.
func (a *app) readMirrors(mirror string, isRelease bool) []string {
	if branches := a.config.Branches.Mirror; !isRelease && branches != "" {
		return []string{mirror, branches}
	}
	return []string{mirror}
}

// mirrored returns which packages the mirrors that a build for a platform may read have.
func (a *app) mirrored(ctx context.Context, mirror string, isRelease bool) (func(buildcache.Hash) bool, error) {
	var all index.Mirror
	for _, url := range a.readMirrors(mirror, isRelease) {
		store, err := a.readable(ctx, url)
		if err != nil {
			return nil, err
		}
		if store == nil {
			continue
		}
		found, err := index.ReadMirror(ctx, store)
		if err != nil {
			return nil, fmt.Errorf("mirror %s: %w", url, err)
		}
		if found.Len() == 0 {
			a.Log.Warn("the mirror has no index, or one of nothing: all packages count as missing (janitor:reindex makes one)", "mirror", url)
		}
		all = append(all, found...)
	}
	return all.Has, nil
}

// plannedContainers says of each definition whether its container is up to date, and what it needs.
func (a *app) plannedContainers(ctx context.Context, defs []definition.Definition, o planOptions) ([]pipeline.Container, error) {
	models := make([]podman.Container, len(defs))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel())
	for i, d := range defs {
		group.Go(func() (err error) {
			if gctx.Err() != nil {
				return gctx.Err()
			}
			if models[i], err = a.container(d, nil); err != nil {
				return fmt.Errorf("%s for %s: %w", d.Name, d.Platform, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	planner, err := a.planner(o.registry)
	if err != nil {
		return nil, err
	}
	plans, errs := planner.Plan(ctx, models)
	none := "there is none"
	if planner.Published != nil {
		none = "none is published"
	}
	var containers []pipeline.Container
	var failed []error
	for i, plan := range plans {
		c := pipeline.Container{Name: defs[i].Name, Platform: defs[i].Platform, Why: reasons(plan, none), LockPath: lockPath(defs[i])}
		switch {
		case errors.Is(errs[i], podman.ErrNoLock):
			c.Why = nil
		case errs[i] != nil:
			failed = append(failed, errs[i])
			continue
		default:
			c.Version, c.Lock, c.Roots = plan.Container.Version, plan.Container.Lock, plan.Container.Roots
			c.UpToDate, c.Bytes = plan.UpToDate && !o.force, plan.Record.Bytes
		}
		containers = append(containers, c)
	}
	return containers, errors.Join(failed...)
}

// planner tells what is up to date without building, and without podman but for a base image that
// lies in its store.
func (a *app) planner(registry *string) (*podman.Scheduler, error) {
	local := podman.Podman{Run: command.Exec(nil)}
	if _, err := command.LookPath("podman"); err == nil {
		if local.Env, err = machine(a).PodmanEnv(); err != nil {
			return nil, err
		}
	}
	s := &podman.Scheduler{
		Podman: local, Native: native, Bases: map[string][]podman.Base{},
		LockedOnly: true, PublishedOnly: true, // what a pipeline builds on has no out/
		Published: a.published(registry), Locked: a.locked(registry, true),
		Work: workDir, Tree: images, Now: time.Now,
	}
	for name := range a.config.Platforms {
		s.Bases[name] = a.bases(name, registry)
	}
	return s, nil
}

// reasons says why a container is to be built, and what will be in its way; none is what is said
// where there was nothing to compare with.
func reasons(plan podman.Plan, none string) []string {
	var why []string
	switch {
	case plan.UpToDate:
		why = append(why, "it is up to date in "+plan.Where+", and planned nevertheless")
	case plan.Where == "":
		why = append(why, none)
	case len(plan.Changes) == 0:
		why = append(why, "the one in "+plan.Where+" was made otherwise")
	}
	for _, change := range plan.Changes {
		why = append(why, change.String())
	}
	if taken := plan.Taken(); taken != "" {
		why = append(why, taken)
	}
	return why
}
