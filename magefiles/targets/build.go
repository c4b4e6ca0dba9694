package targets

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/container"
	"github.com/openbraininstitute/spacktainers/internal/definition"
	"github.com/openbraininstitute/spacktainers/internal/doctor"
	"github.com/openbraininstitute/spacktainers/internal/gateway"
	"github.com/openbraininstitute/spacktainers/internal/podman"
	"github.com/openbraininstitute/spacktainers/internal/ui"
)

// Containers builds every container whose build key neither out/images nor the
// first registry has, and ends in a table.
func (Bare) Containers(ctx context.Context,
	platform *string, // linux/amd64 or linux/arm64 (default: all)
	force *bool, // build also what is up to date
	failFast *bool, // --fail-fast: the first failure stops the others
	keepGoing *bool, // --keep-going: a package that fails stops none that does not need it (default: it ends its build)
	mirror *string, // build cache (default: the platform's)
	registry *string, // prefix to ask what is there (default: the first configured one; none: ask no registry)
	spackRef *string, // --spack-ref: branch, tag or commit of Spack for the builder (default: the configured one)
	release *bool, // at a shell: packages go, signed, where releases are read (CI: on the protected default branch)
	gitCredentials *bool, // --git-credentials: read the private hosts of the configuration also where this is no release
	isolated *bool, // refuse to build in a network that is not the build's own (default: if possible)
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	a, err := startWith(spackRef)
	if err != nil {
		return err
	}
	defs, err := a.environments(platform)
	if err != nil {
		return err
	}
	return a.buildWithPodman(ctx, defs, podmanOptions{
		mirror: mirror, registry: registry, force: or(force, false), failFast: or(failFast, false), json: or(json, false), keepGoing: or(keepGoing, false),
		release: release, git: or(gitCredentials, false), isolated: isolated,
	})
}

// environments returns the valid definitions that are built here: all but
// those for Apptainer. A mistake anywhere stops everything.
func (a *app) environments(platform *string) ([]definition.Definition, error) {
	defs, err := a.definitions(platform)
	return ofKind(defs, definition.Environment), err
}

func ofKind(defs []definition.Definition, kind definition.Kind) []definition.Definition {
	return slices.DeleteFunc(slices.Clone(defs), func(d definition.Definition) bool { return d.Kind != kind })
}

// definitions returns all definitions for a platform, or for all.
func (a *app) definitions(platform *string) ([]definition.Definition, error) {
	defs, err := definition.Load(root)
	if err != nil {
		return nil, err
	}
	if platform != nil {
		only, err := parsePlatform(*platform)
		if err != nil {
			return nil, err
		}
		defs = slices.DeleteFunc(defs, func(d definition.Definition) bool { return d.Platform != only.String() })
	}
	return defs, nil
}

type podmanOptions struct {
	mirror, lock, registry *string
	release, isolated      *bool
	git                    bool // also where it is no release
	force, failFast, json  bool
	keepGoing              bool // with the packages that do not need one that failed
	noLock                 bool // leave out the lockfile beside the definition
	digests                bool // of containers that were named, instead of a table of all

	lockfiles []podman.Container // beside those of definitions, described by lockfiles alone
}

// buildWithPodman builds what is not up to date and ends in a table.
func (a *app) buildWithPodman(ctx context.Context, defs []definition.Definition, o podmanOptions) error {
	scheduler, containers, err := a.scheduler(ctx, defs, o)
	if err != nil {
		return err
	}
	defer scheduler.Close()
	scheduler.Force, scheduler.FailFast = o.force, o.failFast
	progress := a.newProgress(ctx)
	if missing := scheduler.Missing(ctx, containers); len(missing) > 0 {
		progress.Close()
		return &sourcesError{missing}
	}
	scheduler.Watch = progress.event
	scheduler.Announce = a.announceBuild
	results := scheduler.Build(ctx, containers)
	progress.Close()
	if ctx.Err() != nil {
		return stoppedBuilds(results)
	}
	for _, r := range results {
		for _, passed := range r.Passed {
			a.Log.Warn("could not build there", "container", r.Name, "platform", r.Platform, "why", passed)
		}
		var failure *podman.Failure
		if errors.As(r.Err, &failure) {
			a.Fold("log of "+r.Name+" for "+r.Platform, failure.Log)
		}
		if r.Err == nil && r.Outcome == podman.Built {
			a.Log.Info("built", "container", r.Name+":"+r.Record.Version, "platform", r.Platform, "took", ui.Took(r.Took), "size", ui.Size(r.Size),
				"image", images.Dir(r.Name, r.Platform), "next", "mage publish:container "+r.Name)
		}
	}
	switch {
	case o.json:
		err = a.JSON(results)
	case o.digests:
		for _, r := range results {
			if r.Err == nil {
				err = errors.Join(err, a.Print("%s", r.Digest))
			}
		}
	default:
		err = a.showResults(results)
	}
	return errors.Join(err, buildErrors(results))
}

// stoppedBuilds is what is said of builds that were interrupted: one sentence.
func stoppedBuilds(results []podman.Result) error {
	built := 0
	for _, r := range results {
		if r.Err == nil {
			built++
		}
	}
	return fmt.Errorf("%d of %d were built or up to date: %w", built, len(results), context.Canceled)
}

// A sourcesError is what containers are made of and does not answer, all of it.
type sourcesError struct{ missing []error }

func (e *sourcesError) Unwrap() []error { return e.missing }

func (e *sourcesError) Error() string {
	if len(e.missing) == 1 {
		return e.missing[0].Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d things that containers are made of do not answer:", len(e.missing))
	for _, err := range e.missing {
		line, _, _ := strings.Cut(err.Error(), "\n")
		b.WriteString("\n\t" + line)
	}
	return b.String()
}

func (a *app) showResults(results []podman.Result) error {
	var rows [][]string
	for _, r := range results {
		size, digest := "", ""
		if r.Err == nil {
			digest = short(r.Record.Digest)
		}
		if r.Size > 0 {
			size = ui.Size(r.Size)
		}
		rows = append(rows, []string{r.Name, r.Platform, r.Host, string(r.Outcome), ui.Took(r.Took), size, digest})
	}
	return a.Table([]string{"container", "platform", "host", "result", "time", "size", "digest"}, rows)
}

// scheduler wires what builds containers, and describes the containers to it.
// The caller closes it.
func (a *app) scheduler(ctx context.Context, defs []definition.Definition, o podmanOptions) (*podman.Scheduler, []podman.Container, error) {
	isRelease, scope, err := a.release(ctx, o.release)
	if err != nil {
		return nil, nil, err
	}
	containers, err := a.containers(ctx, defs, o, isRelease, scope)
	if err != nil {
		return nil, nil, err // what is wrong with a definition is said also where podman is missing
	}
	local, err := a.podman(ctx)
	if err != nil {
		return nil, nil, err
	}
	local.Run = command.Exec(nil) // what base images and ssh say stands in the error, if it comes to one
	scheduler := &podman.Scheduler{
		Native: native, Hosts: map[string][]string{}, Jobs: map[string]int{}, Bases: map[string][]podman.Base{},
		Emulation: a.emulation, Isolated: or(o.isolated, false),
		Work: workDir, Tree: images, Now: time.Now,
	}
	if scheduler.Isolated && local.Chroot {
		return nil, nil, errors.New("--isolated: no container can be started here, and a chroot isolates nothing")
	}
	if scheduler.Gateway, local.Namespace, err = a.gateway(o.isolated); err != nil {
		return nil, nil, err
	}
	scheduler.Podman = local
	if !o.digests { // who names a container wants its image here, whatever is published
		scheduler.Published = a.published(o.registry)
	}
	scheduler.Locked = a.locked(o.registry, !o.digests && !o.noLock)
	for name, platform := range a.config.Platforms {
		place(scheduler, name, platform.Hosts)
		scheduler.Bases[name] = a.bases(name, o.registry)
	}
	return scheduler, containers, nil
}

// containers describes what podman is to build, and what the builds may use.
func (a *app) containers(ctx context.Context, defs []definition.Definition, o podmanOptions, isRelease bool, scope string) ([]podman.Container, error) {
	var containers []podman.Container
	for _, d := range defs {
		var c podman.Container
		var err error
		if o.noLock {
			c.Container, err = container.New(d, a.config.Platforms[d.Platform].Target)
		} else {
			c, err = a.container(d, o.lock)
		}
		if err != nil {
			return nil, fmt.Errorf("%s for %s: %w", d.Name, d.Platform, err)
		}
		containers = append(containers, c)
	}
	containers = append(containers, o.lockfiles...)
	offers := map[string]gateway.Build{}
	here := checkout(ctx)
	for i := range containers {
		c := &containers[i]
		mirror := or(o.mirror, a.config.Platforms[c.Platform].Mirror)
		var err error
		if mirror != "" {
			if c.Mirror, err = a.location(mirror); err != nil {
				return nil, fmt.Errorf("mirror: %w", err)
			}
		}
		offer, ok := offers[c.Platform]
		if !ok {
			if offer, err = a.offer(ctx, mirror, isRelease, o.git); err != nil {
				return nil, err
			}
			offers[c.Platform] = offer
		}
		c.KeepGoing = o.keepGoing
		c.Offer, c.Scope, c.Revision, c.Origin = offer, scope, here.Commit, here.Remote
	}
	return containers, nil
}

// container turns a definition, with its lockfile if it has one, into what build takes.
func (a *app) container(d definition.Definition, lock *string) (podman.Container, error) {
	model, err := container.New(d, a.config.Platforms[d.Platform].Target)
	if err != nil {
		return podman.Container{}, err
	}
	for _, note := range model.Notes {
		a.Log.Warn(note)
	}
	path, text, err := readLock(d, lock)
	if err == nil && text != nil {
		if err = model.SetLock(text); err != nil {
			return podman.Container{}, fmt.Errorf("lockfile %s: %w", path, err)
		}
		for _, note := range model.LockNotes() {
			a.Log.Warn("lockfile "+path+": "+note, "container", d.Name)
		}
	}
	return podman.Container{Container: model}, err
}

// readLock reads the lockfile that is given, or else that beside the
// definition; no text where there is none.
func readLock(d definition.Definition, given *string) (path string, text []byte, err error) {
	path = or(given, "")
	if path == "" && d.LockPath != "" {
		path = filepath.Join(d.Root, d.LockPath)
	}
	if path == "" {
		return "", nil, nil
	}
	if text, err = os.ReadFile(path); err != nil {
		return path, nil, fmt.Errorf("lockfile: %w", err)
	}
	return path, text, nil
}

// ownPodman is podman on this machine, to be asked for what it has.
func (a *app) ownPodman() (podman.Podman, error) {
	if _, err := command.LookPath("podman"); err != nil {
		return podman.Podman{}, fmt.Errorf("%w; without podman, --engine=assemble makes a container from a lockfile and a build cache", err)
	}
	env, err := machine(a).PodmanEnv()
	return podman.Podman{Run: command.Exec(a.Err()), Env: env, Builds: filepath.Join(workDir, "podman")}, err
}

// podman is podman on this machine, with what it needs here to build.
func (a *app) podman(ctx context.Context) (podman.Podman, error) {
	local, err := a.ownPodman()
	if err != nil {
		return local, err
	}
	if why := a.missing(ctx, doctor.PodmanRun); why != "" {
		a.Log.Warn("no container can be started here: build steps run in a chroot, and nothing is tested", "why", why)
		local.Chroot = true
	}
	if removed, err := local.RemoveLeftovers(ctx); err != nil {
		a.Log.Warn("what a killed build has left in podman stays", "why", err)
	} else if removed > 0 {
		a.Log.Info("removed what a killed build had left in podman", "containers", removed)
	}
	return local, nil
}

// missing says what keeps a need from being met, and what mends it; empty where
// nothing does.
func (a *app) missing(ctx context.Context, what string) string {
	for _, need := range doctor.Needs {
		if need.What != what {
			continue
		}
		for _, f := range doctor.Examine(ctx, machine(a), []doctor.Need{need}) {
			if f.Missing != "" && f.Mend != "" {
				return f.Missing + ": " + f.Mend
			}
			return f.Missing
		}
	}
	return ""
}

// emulation says why this machine cannot run programs for another platform.
func (a *app) emulation(ctx context.Context, platform string) error {
	if why := a.missing(ctx, doctor.ArmEmulation); why != "" {
		return fmt.Errorf("programs for %s do not run here: %s", platform, why)
	}
	return nil
}
