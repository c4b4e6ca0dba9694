package targets

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/internal/definition"
	"github.com/openbraininstitute/spacktainers/internal/pipeline"
	"github.com/openbraininstitute/spacktainers/internal/sif"
	"github.com/openbraininstitute/spacktainers/internal/sifstore"
)

// plannedFiles says of Apptainer definition files whether their SIFs are up to date: whether the one
// that is uploaded was made from the same text, files and images. Where that cannot be told, such as
// where the registry of an image does not answer, the SIF is planned, and says why.
func (a *app) plannedFiles(ctx context.Context, defs []definition.Definition, o planOptions) ([]pipeline.Container, error) {
	files := make([]pipeline.Container, len(defs))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel())
	for i, d := range defs {
		group.Go(func() error {
			file, err := definitionFileOf(d)
			if err != nil {
				return err
			}
			files[i] = pipeline.Container{Name: d.Name, Platform: d.Platform, Version: file.Version, Apptainer: true}
			switch same, err := a.sameSIF(gctx, file, o); {
			case gctx.Err() != nil:
				return gctx.Err()
			case err != nil:
				files[i].Why = []string{"whether its SIF is up to date is not known: " + err.Error()}
			case !same:
				files[i].Why = []string{"there is no SIF of " + d.Path + " as it is now"}
			case o.force:
				files[i].Why = []string{"its SIF is up to date, and planned nevertheless"}
			default:
				files[i].UpToDate = true
			}
			return nil
		})
	}
	return files, group.Wait()
}

// sameSIF reports whether the SIF of a definition file is uploaded as it would be made now.
func (a *app) sameSIF(ctx context.Context, file sif.DefinitionFile, o planOptions) (bool, error) {
	if or(o.registry, "") == "none" {
		return false, errors.New("no registry is asked for its image")
	}
	store, err := a.openSIFs(ctx, nil)
	if err != nil {
		return false, err
	}
	keys, err := a.sifKeys(nil, nil)
	if err != nil {
		return false, err
	}
	want, err := sif.Builder{Pull: a.pull}.Describe(ctx, file)
	if err != nil {
		return false, err
	}
	there, ok, err := sifstore.Find(ctx, store, keys, want.Name, want.File)
	return ok && there.BuildKey == want.BuildKey, err
}
