package targets

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/magefile/mage/mg"

	"github.com/openbraininstitute/spacktainers/internal/assemble"
	"github.com/openbraininstitute/spacktainers/internal/container"
	"github.com/openbraininstitute/spacktainers/internal/definition"
	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/ui"
	"github.com/openbraininstitute/spacktainers/internal/views"
)

// Containers are what container_definitions describes.
type Containers mg.Namespace

// List shows the containers that are defined: name, platform, kind and specs.
func (Containers) List(ctx context.Context,
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	defs, broken := definition.Load(root)
	if or(json, false) {
		return errors.Join(a.JSON(listed(defs)), broken)
	}
	var rows [][]string
	for _, d := range listed(defs) {
		rows = append(rows, []string{d.Name, d.Platform, d.Kind, strings.Join(d.Specs, ", "), d.Path})
	}
	return errors.Join(a.Table([]string{"container", "platform", "kind", "specs", "defined in"}, rows), broken)
}

// A listedContainer is a definition as containers:list shows it.
type listedContainer struct {
	Name     string   `json:"name"`
	Platform string   `json:"platform"`
	Kind     string   `json:"kind"`
	Specs    []string `json:"specs"`
	From     string   `json:"from,omitempty"`
	Path     string   `json:"path"`
	Lock     string   `json:"lock,omitempty"`
}

func listed(defs []definition.Definition) []listedContainer {
	list := []listedContainer{}
	for _, d := range defs {
		specs := d.Specs
		if d.Kind == definition.Apptainer {
			specs = []string{"from " + d.From}
		}
		list = append(list, listedContainer{d.Name, d.Platform, string(d.Kind), specs, d.From, d.Path, d.LockPath})
	}
	return list
}

// Check says what is wrong with the definitions, all of it, as
// path:line:column: sentence. With NAME it looks at that container alone, or several by commas.
func (Containers) Check(ctx context.Context,
	name *string, // the containers to look at, by commas (default: all); may stand without its flag
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	defs, mistakes, err := loadDefinitions()
	if err != nil {
		return err
	}
	if name != nil {
		all, broken := defs, mistakes
		defs, mistakes = nil, nil
		for _, n := range list(*name) {
			found, wrong, err := definition.Lookup(all, broken, strings.TrimSpace(n))
			if err != nil {
				return callError{err}
			}
			defs, mistakes = append(defs, found...), append(mistakes, wrong...)
		}
	}
	for _, d := range defs {
		mistakes = append(mistakes, a.checkContainer(d)...)
	}
	if or(json, false) {
		err = a.JSON(append(definition.Errors{}, mistakes...))
	} else {
		for _, mistake := range mistakes {
			if err = a.Print("%s", mistake); err != nil {
				break
			}
			a.Annotate(ui.Annotation{Path: mistake.Path, Line: mistake.Line, Column: mistake.Column, Text: mistake.Message})
		}
	}
	switch len(mistakes) {
	case 0:
	case 1:
		return errors.Join(err, errors.New("1 mistake in container_definitions"))
	default:
		return errors.Join(err, fmt.Errorf("%d mistakes in container_definitions", len(mistakes)))
	}
	a.Log.Info("all valid", "definitions", len(defs))
	return err
}

// checkContainer says what is wrong with a definition's lockfile, as a build would, and logs what a
// person should know: what a build adds to the settings, what an assembled image cannot have, what
// a lockfile leaves open.
func (a *app) checkContainer(d definition.Definition) definition.Errors {
	c, err := container.New(d, a.config.Platforms[d.Platform].Target)
	if err != nil {
		return nil // it is converted from an image, or its files changed while they were read
	}
	for _, note := range c.Notes {
		a.Log.Warn(note)
	}
	if _, err := views.Parse(c.Spack, assemble.View); err != nil {
		a.Log.Warn(fmt.Sprintf("%s: --engine=assemble cannot make it: %v", d.Path, err))
	}
	mistakes := d.CheckLock(c.SetLock)
	if c.Lock != nil {
		for _, note := range c.LockNotes() {
			a.Log.Warn(d.LockPath + ": " + note)
		}
	}
	return mistakes
}

// Build makes the image of a container: an OCI image layout below out/images.
// NAME is the definition's, or that of its first package, or several of them by commas. Beside the layout lie
// the record that later steps read, and the lockfile. It is built by Spack in
// podman, or assembled from a lockfile and a build cache without either.
func (Containers) Build(ctx context.Context, name string,
	platform *string, // linux/amd64 or linux/arm64 (default: all that it is defined for)
	engine *string, // podman (default), or assemble (default with --base)
	mirror *string, // build cache to take packages from (default: the platform's)
	lock *string, // lockfile to install (default: spack.lock beside the definition)
	base *string, // assemble: image below the packages: a reference, oci:DIR or scratch (default: the configured one)
	key *string, // assemble: public key files, by commas: each package must be signed by one of them
	registry *string, // podman: prefix to ask for a published lockfile (default: the first configured one; none: ask nobody)
	force *bool, // podman: build it also if it is up to date in out/images
	keepGoing *bool, // --keep-going: podman: a package that fails stops none that does not need it (default: it ends the build)
	spackRef *string, // --spack-ref: podman: branch, tag or commit of Spack for the builder (default: the configured one)
	release *bool, // podman, at a shell: packages go, signed, where releases are read (CI: on the protected default branch)
	gitCredentials *bool, // --git-credentials: podman: read the private hosts of the configuration also where this is no release
	isolated *bool, // podman: refuse to build in a network that is not the build's own (default: if possible)
	json *bool, // print the records, for machines
) (err error) {
	defer finish(ctx, &err)
	a, err := startWith(spackRef)
	if err != nil {
		return err
	}
	by, err := chooseEngine(engine, base, key)
	if err != nil {
		return err
	}
	defs, err := a.findAll(name, platform)
	if err != nil {
		return err
	}
	if by == enginePodman {
		return a.buildWithPodman(ctx, defs, podmanOptions{
			mirror: mirror, lock: lock, registry: registry, force: or(force, false), json: or(json, false), keepGoing: or(keepGoing, false), digests: true,
			release: release, git: or(gitCredentials, false), isolated: isolated,
		})
	}
	records := []shownImage{}
	for _, d := range defs {
		result, err := a.assemble(ctx, d, assembleOptions{
			mirror: or(mirror, a.config.Platforms[d.Platform].Mirror),
			lock:   lock,
			base:   or(base, a.config.BaseImage),
			key:    or(key, a.env.PublicKey),
		})
		if err != nil {
			return fmt.Errorf("%s for %s: %w", d.Name, d.Platform, err)
		}
		records = append(records, shownImage{result.Record, withAlgorithm(result.Lock)})
		if or(json, false) {
			continue
		}
		if err := a.Print("%s", result.Digest); err != nil {
			return err
		}
	}
	if or(json, false) {
		return a.JSON(records)
	}
	return nil
}

// A shownImage is the record of an image as containers:build shows it.
type shownImage struct {
	image.Record
	Lock string `json:"lock"` // digest of the lockfile
}

// withAlgorithm is how a digest is written for machines: sha256:HEX.
func withAlgorithm(hex string) string {
	if hex == "" {
		return ""
	}
	return "sha256:" + hex
}

// The engines that build containers.
const (
	enginePodman   = "podman"
	engineAssemble = "assemble"
)

// chooseEngine returns the engine that was named, or the one that takes the
// flags that were given: podman's base images are the configured ones.
func chooseEngine(engine, base, key *string) (string, error) {
	otherwise := enginePodman
	if base != nil || key != nil {
		otherwise = engineAssemble
	}
	switch e := or(engine, otherwise); {
	case e != enginePodman && e != engineAssemble:
		return "", unknown("engine", e, []string{engineAssemble, enginePodman})
	case e == enginePodman && otherwise == engineAssemble:
		return "", wrongCall("--base and --key are for --engine=assemble: podman builds on base_image in spacktainers.yaml, and takes keys from SPACK_DEPLOYMENT_KEY_PUBLIC")
	default:
		return e, nil
	}
}

// findAll returns the valid definitions of containers that are named by commas, each once.
func (a *app) findAll(names string, platform *string) (all []definition.Definition, err error) {
	var errs []error
	for _, name := range list(names) {
		found, err := a.find(strings.TrimSpace(name), platform)
		errs = append(errs, err)
		for _, d := range found {
			if !slices.ContainsFunc(all, func(other definition.Definition) bool { return other.Name == d.Name && other.Platform == d.Platform }) {
				all = append(all, d)
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, wrongCall("%q names no container", names)
	}
	return all, nil
}

// find returns the valid definitions of a container. A mistake in another
// container's definition, or for another platform, does not stop this one.
func (a *app) find(name string, platform *string) ([]definition.Definition, error) {
	var only []string
	if platform != nil {
		parsed, err := parsePlatform(*platform)
		if err != nil {
			return nil, err
		}
		only = append(only, parsed.String())
	}
	defs, mistakes, err := loadDefinitions()
	if err != nil {
		return nil, err
	}
	found, mistakes, err := definition.Lookup(defs, mistakes, name, only...)
	if err != nil {
		return nil, callError{err}
	}
	if len(mistakes) > 0 {
		return nil, mistakes
	}
	return found, nil
}

// loadDefinitions returns the valid definitions, and the mistakes in the others.
func loadDefinitions() ([]definition.Definition, definition.Errors, error) {
	defs, err := definition.Load(root)
	var mistakes definition.Errors
	if errors.As(err, &mistakes) {
		err = nil
	}
	return defs, mistakes, err
}

type assembleOptions struct {
	mirror, base, key string
	lock              *string // nil: the one beside the definition
}

func (a *app) assemble(ctx context.Context, d definition.Definition, o assembleOptions) (assemble.Result, error) {
	began := time.Now()
	progress := a.Progress(ctx)
	defer progress.Close()
	task := progress.Begin(d.Name + " " + d.Platform)
	task.Count("reading the base image", 0, 0, ui.Things)
	container, err := a.describe(ctx, d, o)
	if err != nil {
		return assemble.Result{}, err
	}
	cache, err := a.openCache(ctx, o.mirror, o.key)
	if err != nil {
		return assemble.Result{}, err
	}
	a.announce(ctx, container.Container, cache.Store)
	watch := func(step string, done, of int) { task.Count(step, int64(done), int64(of), ui.Things) }
	result, err := assemble.Builder{Cache: cache, Work: workDir, Fetch: parallel(), Watch: watch}.Build(ctx, container, images)
	progress.Close()
	if err != nil {
		return assemble.Result{}, err
	}
	for _, conflict := range result.Conflicts {
		a.Log.Warn("two packages claim a path of the view", "path", conflict.String())
	}
	if len(d.Test) > 0 {
		a.Log.Warn("the definition's tests were not run: nothing runs in a container that is only assembled", "tests", len(d.Test))
	}
	for _, spec := range result.Externals {
		a.Log.Info("left out: the system provides it", "external", spec)
	}
	a.Log.Info("assembled", "container", d.Name+":"+result.Version, "platform", d.Platform, "packages", len(result.Packages),
		"fetched", result.Fetched, "layers", result.Layers, "size", ui.Size(result.Size), "took", ui.Took(time.Since(began)), "signatures", signatureState(o.key),
		"layout", images.Dir(d.Name, d.Platform), "next", "mage publish:container "+d.Name)
	return result, nil
}

func signatureState(key string) string {
	if key == "" {
		return "not asked for"
	}
	return "verified"
}

// describe turns a definition and its lockfile into what assemble takes.
func (a *app) describe(ctx context.Context, d definition.Definition, o assembleOptions) (assemble.Container, error) {
	none := assemble.Container{}
	switch {
	case d.Kind == definition.Apptainer:
		return none, fmt.Errorf("it is an Apptainer definition, converted from an image: there is nothing to assemble; mage sif:build %s makes a SIF of it", d.Name)
	case d.EpiloguePath != "":
		return none, fmt.Errorf("%s runs commands in the container, for which there must be podman: --engine=assemble only places files", d.EpiloguePath)
	case d.LockPath == "" && or(o.lock, "") == "":
		return none, fmt.Errorf("no lockfile: commit spack.lock in %s, or give --lock=FILE", d.Dir)
	}
	platform, err := parsePlatform(d.Platform)
	if err != nil {
		return none, err
	}
	c, err := a.container(d, o.lock)
	if err != nil {
		return none, err
	}
	base, err := assemble.OpenBase(ctx, a.pull, o.base, platform)
	if err != nil {
		return none, err
	}
	return assemble.Container{Container: c.Container, Base: base}, nil
}
