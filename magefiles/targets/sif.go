package targets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/magefile/mage/mg"

	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/definition"
	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/publish"
	"github.com/openbraininstitute/spacktainers/internal/registry"
	"github.com/openbraininstitute/spacktainers/internal/sif"
	"github.com/openbraininstitute/spacktainers/internal/ui"
)

// Sif is what sites with Apptainer or SingularityCE run: one file a container.
type Sif mg.Namespace

var sifs = sif.Folder(filepath.Join(outDir, "sif"))

// Build makes the SIF of a container below out/sif, from the image layout that containers:build has
// left, or from an Apptainer definition file. NAME is the definition's, or that of its first
// package, or any image: oci:DIR, a folder with a layout, or registry/name:tag. The same image
// gives the same file; what is there already is not built again.
func (Sif) Build(ctx context.Context, name string,
	platform *string, // linux/amd64 or linux/arm64 (default: all that it is defined for)
	engine *string, // apptainer: by the host's apptainer or singularity (default where one is), else by the singularitah image with podman; native: by ourselves
	compression *string, // zstd (default), or gzip for kernels before 4.14
	branch *string, // that the image was built from (default: the checkout's); a release has none in its name
	sign *string, // sign with the PGP private key in this file; SIF_KEY_PASSPHRASE opens it
	force *bool, // build also what is there
	json *bool, // print the records, for machines
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	builder, err := a.sifBuilder(ctx, engine, compression, sign, force)
	if err != nil {
		return err
	}
	if isImage(name) {
		record, err := a.buildImageSIF(ctx, builder, name, platform)
		if err != nil {
			return fmt.Errorf("SIF of %s: %w", name, err)
		}
		if or(json, false) {
			return a.JSON([]shownSIF{newShownSIF(record)})
		}
		return a.Print("%s", sifs.Path(record.File))
	}
	defs, err := a.findAll(name, platform)
	if err != nil {
		return err
	}
	from, err := a.sifBranch(ctx, branch)
	if err != nil {
		return err
	}
	records := []shownSIF{}
	for _, d := range defs {
		record, err := a.buildSIF(ctx, builder, d, from)
		if err != nil {
			return fmt.Errorf("SIF of %s for %s: %w", d.Name, d.Platform, err)
		}
		records = append(records, newShownSIF(record))
		if !or(json, false) {
			if err := a.Print("%s", sifs.Path(record.File)); err != nil {
				return err
			}
		}
	}
	if or(json, false) {
		return a.JSON(records)
	}
	return nil
}

// A shownSIF is the record of a SIF as sif:build shows it: the file beside the SIF has names of its own
// for two things, which stay as they are for those who read it.
type shownSIF struct {
	sif.Record
	Lock       string    `json:"lock,omitempty"` // digest of the lockfile
	FileDigest string    `json:"file_digest"`
	Bytes      int64     `json:"bytes"`
	SHA256     *struct{} `json:"sha256,omitempty"`
	Size       *struct{} `json:"size,omitempty"`
}

func newShownSIF(r sif.Record) shownSIF {
	return shownSIF{Record: r, Lock: withAlgorithm(r.Lock), FileDigest: withAlgorithm(r.SHA256), Bytes: r.Size}
}

func (a *app) sifBuilder(ctx context.Context, engine, compression, sign *string, force *bool) (sif.Builder, error) {
	b := sif.Builder{
		Folder: sifs, Run: command.Exec(a.Err()), Force: or(force, false), Pull: a.pull, Log: a.Err(),
		Warn: func(sentence string) { a.Log.Warn(sentence) },
	}
	var err error
	if sign != nil {
		if b.Signer, err = sif.ReadSigner(*sign, a.env.SIFPassphrase); err != nil {
			return b, err
		}
	}
	if b.Compression, err = sif.ParseCompression(or(compression, string(sif.Zstd))); err != nil {
		return b, callError{err}
	}
	chosen := "native"
	if sif.HasApptainer() {
		chosen = "apptainer"
	}
	switch e := or(engine, chosen); e {
	case "native":
		b.Engine, err = sif.NewNative()
	case "apptainer":
		singularitah := ""
		if !sif.HasApptainer() {
			env, err := machine(a).PodmanEnv()
			if err != nil {
				return b, err
			}
			b.Run = withEnv(b.Run, env)
			if singularitah, err = a.singularitah(ctx); err != nil {
				return b, err
			}
		}
		b.Engine, err = sif.NewApptainer(ctx, b.Run, singularitah)
	default:
		return b, unknown("engine", e, []string{"native", "apptainer"})
	}
	return b, err
}

// withEnv adds to the environment of whatever is run.
func withEnv(run command.Runner, env []string) command.Runner {
	return func(ctx context.Context, c command.Cmd) error {
		c.Env = append(slices.Clone(env), c.Env...)
		return run(ctx, c)
	}
}

// singularitah is the image with apptainer in it, in the first registry. It runs with all rights
// here, so where releases must be signed it must be, too.
func (a *app) singularitah(ctx context.Context) (string, error) {
	const name = "singularitah"
	if len(a.config.Registries) == 0 {
		return name, nil
	}
	first := registry.Registry(a.config.Registries[0])
	verifier, err := a.releaseVerifier()
	if verifier == nil || err != nil {
		return first.Prefix + name, err
	}
	repository, err := first.Repository(name)
	if err != nil {
		return "", err
	}
	client, err := a.client()
	if err != nil {
		return "", err
	}
	found, err := client.Head(ctx, repository.Tag(publish.Latest))
	if err == nil && found == nil {
		err = errors.New("it does not exist")
	}
	if err == nil {
		err = attest.CheckSignature(ctx, client, repository, found.Digest, verifier)
	}
	if err != nil {
		return "", fmt.Errorf("%s, in which podman would run apptainer: %w: install apptainer, or use --engine=native", repository, err)
	}
	return repository.Digest(found.Digest.String()).String(), nil
}

func (a *app) buildSIF(ctx context.Context, b sif.Builder, d definition.Definition, branch string) (sif.Record, error) {
	began := time.Now()
	progress := a.Progress(ctx)
	task := progress.Begin(d.Name + " " + d.Platform)
	task.Count("reading layers", 0, 0, ui.Things)
	b.Watch = func(done, of int64) { task.Count("packed", done, of, ui.Bytes) }
	b.Step = task.Step
	record, fresh, err := makeSIF(ctx, b, d, branch)
	progress.Close()
	if err != nil {
		return sif.Record{}, err
	}
	if !fresh {
		a.Log.Info("SIF is there already", "file", sifs.Path(record.File), "digest", record.Digest)
		return record, nil
	}
	a.Log.Info("SIF built", "file", sifs.Path(record.File), "engine", record.Engine, "compression", record.Compression,
		"size", ui.Size(record.Size), "took", ui.Took(time.Since(began)), "next", "mage sif:upload "+d.Name)
	return record, nil
}

func makeSIF(ctx context.Context, b sif.Builder, d definition.Definition, branch string) (sif.Record, bool, error) {
	if d.Kind == definition.Apptainer {
		file, err := definitionFileOf(d)
		if err != nil {
			return sif.Record{}, false, err
		}
		return b.BuildDefinitionFile(ctx, file)
	}
	built, err := images.Read(d.Name, d.Platform)
	if errors.Is(err, fs.ErrNotExist) {
		return sif.Record{}, false, fmt.Errorf("there is no image of it: mage containers:build %s --platform=%s", d.Name, d.Platform)
	}
	if err != nil {
		return sif.Record{}, false, err
	}
	return b.Build(ctx, images, built, branch)
}

func definitionFileOf(d definition.Definition) (sif.DefinitionFile, error) {
	version, err := d.ImageVersion()
	if err != nil {
		return sif.DefinitionFile{}, err
	}
	inputs, err := d.Inputs()
	if err != nil {
		return sif.DefinitionFile{}, err
	}
	file := sif.DefinitionFile{Name: d.Name, Version: version, Platform: d.Platform, Path: filepath.Join(d.Root, d.Path)}
	for _, in := range inputs {
		file.Inputs = append(file.Inputs, image.Input{Kind: "file", Name: in.Path, Digest: in.Mode.String() + " " + in.SHA256})
	}
	return file, nil
}
