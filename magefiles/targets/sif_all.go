package targets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/openbraininstitute/spacktainers/internal/definition"
	"github.com/openbraininstitute/spacktainers/internal/sif"
)

// Sif makes and uploads the SIFs of all containers that are built, and of all
// Apptainer definition files where apptainer is.
func (Bare) Sif(ctx context.Context,
	engine *string, // apptainer or native, as for sif:build
	compression *string, // zstd (default) or gzip
	branch *string, // that the images were built from (default: the checkout's)
	sifs *string, // bucket or folder (default: the configured one)
	sign *string, // sign with the PGP private key in this file
	dryRun *bool, // --dry-run: make them, say what would be sent, and send nothing
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	builder, err := a.sifBuilder(ctx, engine, compression, sign, nil)
	if err != nil {
		return err
	}
	from, err := a.sifBranch(ctx, branch)
	if err != nil {
		return err
	}
	keys, err := a.sifKeys(nil, sign)
	if err != nil {
		return err
	}
	_, runsCommands := builder.Engine.(sif.Apptainer)
	defs, broken := definition.Load(root)
	sent := []sentSIF{}
	errs := []error{broken}
	for _, d := range defs {
		if d.Kind == definition.Apptainer && !runsCommands {
			a.Log.Info("left out: it takes apptainer, which --engine=apptainer finds here or in an image", "container", d.Name, "platform", d.Platform)
			continue
		}
		if d.Kind == definition.Environment {
			_, err := images.Read(d.Name, d.Platform)
			if errors.Is(err, fs.ErrNotExist) {
				a.Log.Info("left out: it is not built here", "container", d.Name, "platform", d.Platform)
				continue
			}
		}
		if _, err := a.buildSIF(ctx, builder, d, from); err != nil {
			errs = append(errs, fmt.Errorf("SIF of %s for %s: %w", d.Name, d.Platform, err))
			continue
		}
		one, err := a.upload(ctx, sifs, keys, []definition.Definition{d}, from, or(dryRun, false))
		sent, errs = append(sent, one...), append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(append(errs, a.showSent(sent, or(json, false)))...)
}
