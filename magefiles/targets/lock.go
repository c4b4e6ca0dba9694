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

// Lock concretizes the environment of a container in the builder, and writes
// its lockfile to standard output. Later builds of the same environment use it.
func (Containers) Lock(ctx context.Context, name string,
	platform *string, // linux/amd64 or linux/arm64 (default: all that it is defined for)
	mirror *string, // build cache whose packages are preferred (default: the platform's)
	save *bool, // write it beside the definition instead, to be committed
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
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
	scheduler, containers, err := a.scheduler(ctx, defs, podmanOptions{mirror: mirror, noLock: true})
	if err != nil {
		return err
	}
	defer scheduler.Close()
	progress := a.newProgress()
	defer progress.close()
	scheduler.Watch = progress.event
	var errs []error
	for i, c := range containers {
		lock, err := scheduler.Lock(ctx, c)
		switch {
		case err != nil:
			errs = append(errs, err)
		case or(save, false):
			path := lockPath(defs[i])
			errs = append(errs, atomicfile.Write(path, lock, 0o644))
			a.Log.Info("saved", "lockfile", path)
		default:
			_, err = os.Stdout.Write(lock)
			errs = append(errs, err)
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
