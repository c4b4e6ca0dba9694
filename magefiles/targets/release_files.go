package targets

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/openbraininstitute/spacktainers/internal/atomicfile"
	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/release"
	"github.com/openbraininstitute/spacktainers/internal/ui"
)

// The program with all targets, and where release puts it.
const (
	programName    = "spacktainers"
	programPackage = "./cmd/" + programName
)

var releaseDir = filepath.Join(outDir, "release")

// Release makes the program with all targets as files to be downloaded: for amd64
// and arm64, static, each with the list of its modules, and the checksums of all.
// The same commit gives the same bytes. It runs in a checkout of this project.
// With --image an image for jobs of CI is made for each platform, too: the program,
// podman and what else it calls, from Debian's archive; publish:base tool sends it.
func Release(ctx context.Context,
	out *string, // folder for the files (default: out/release)
	image *bool, // make the images, too, which takes mmdebstrap and minutes
	platform *string, // linux/amd64, linux/arm64, or both by commas (default: both)
	sign *string, // sign the checksums with this private key file, as cosign sign-blob does; COSIGN_PASSWORD opens it
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	signer, err := a.signer(sign)
	if err != nil {
		return err
	}
	if _, err := os.Stat(programPackage); errors.Is(err, fs.ErrNotExist) {
		return wrongCall("there is no %s here: release runs in a checkout of %s", programPackage, modulePath)
	}
	if checkout(ctx).Changed {
		a.Log.Warn("the checkout has changes that are not committed: nobody else can make these files")
	}
	dir := or(out, releaseDir)
	options := release.Options{Package: programPackage, Name: programName, Out: dir, Platforms: list(or(platform, "linux/amd64,linux/arm64"))}
	for _, p := range options.Platforms {
		if _, err := parsePlatform(p); err != nil {
			return err
		}
	}
	if or(image, false) {
		if options.Image, err = a.toolImage(ctx, options.Platforms); err != nil {
			return err
		}
	}
	files, err := release.Build(ctx, command.Exec(os.Stderr), options)
	if err != nil {
		return err
	}
	if signer != nil {
		path := filepath.Join(dir, release.Checksums)
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		signature, err := signer.SignBlob(text)
		if err != nil {
			return err
		}
		if err := atomicfile.Write(path+".sig", []byte(signature+"\n"), 0o644); err != nil {
			return err
		}
	}
	if or(json, false) {
		return a.JSON(files)
	}
	var rows [][]string
	for _, f := range files {
		rows = append(rows, []string{f.Name, f.Platform, ui.Size(f.Size), f.SHA256})
	}
	return a.Table([]string{"file", "platform", "size", "sha256"}, rows)
}
