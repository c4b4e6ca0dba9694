package targets

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/openbraininstitute/spacktainers/internal/atomicfile"
	"github.com/openbraininstitute/spacktainers/internal/definition"
)

// Lock writes the lockfile of a container to standard output: the one that is
// published for the same definition and the same Spack, or a new one, for which
// the builder concretizes. Later builds of the same environment use it.
func (Containers) Lock(ctx context.Context, name string,
	platform *string, // linux/amd64 or linux/arm64 (default: all that it is defined for)
	mirror *string, // build cache whose packages are preferred (default: the platform's)
	registry *string, // prefix to ask what is published (default: the first configured one; none: ask nobody)
	spackRef *string, // --spack-ref: branch, tag or commit of Spack for the builder (default: the configured one)
	force *bool, // concretize anew, whatever is published or was found before
	save *bool, // write it beside the definition instead, to be committed
) (err error) {
	defer finish(ctx, &err)
	a, err := startWith(spackRef)
	if err != nil {
		return err
	}
	defs, err := a.find(name, platform)
	if err != nil {
		return err
	}
	if len(defs) > 1 && !or(save, false) {
		return wrongCall("%s is defined for %d platforms: choose one by --platform, or --save the lockfiles", name, len(defs))
	}
	scheduler, containers, err := a.scheduler(ctx, defs, podmanOptions{mirror: mirror, registry: registry, noLock: true})
	if err != nil {
		return err
	}
	defer scheduler.Close()
	scheduler.Anew = or(force, false)
	progress := a.newProgress(ctx)
	scheduler.Watch = progress.event
	locked, errs := scheduler.Lock(ctx, containers)
	progress.Close()
	for i, c := range locked {
		switch {
		case errs[i] != nil:
		case or(save, false):
			path := lockPath(defs[i])
			if errs[i] = atomicfile.Write(path, c.RecordedLock(), 0o644); errs[i] == nil {
				a.Log.Info("saved", "lockfile", path)
			}
		default:
			_, errs[i] = os.Stdout.Write(c.RecordedLock())
		}
	}
	return errors.Join(errs...)
}

// lockPath is where a definition's lockfile is looked for.
func lockPath(d definition.Definition) string {
	if d.LockPath != "" {
		return filepath.Join(d.Root, d.LockPath)
	}
	name := "spack.lock"
	if base := filepath.Base(d.Path); base != "spack.yaml" {
		name = fmt.Sprintf("%s.spack.lock", d.Name)
	}
	return filepath.Join(d.Root, d.Dir, name)
}
