// Package bare has the targets that have the name of a namespace and no colon, such as containers
// beside containers:build. Mage wants them in another package than the namespaces; a magefile
// imports both.
package bare

import (
	"context"

	"github.com/openbraininstitute/spacktainers/magefiles/targets"
)

// Base builds the base images builder and runtime where they are missing or not
// up to date.
func Base(ctx context.Context,
	platform *string, // linux/amd64, linux/arm64, or both by commas (default: this machine's)
	registry *string, // prefix to take them from (default: the first one configured; none: build them)
	spackRef *string, // --spack-ref: branch, tag or commit of Spack for the builder (default: the configured one)
	force *bool, // build them anew
	dryRun *bool, // --dry-run: say what would be built or taken, and why, and change nothing
	json *bool, // for machines
) error {
	return targets.Bare{}.Base(ctx, platform, registry, spackRef, force, dryRun, json)
}

// Containers builds every container whose build key neither out/images nor the
// first registry has.
func Containers(ctx context.Context,
	platform *string, // linux/amd64 or linux/arm64 (default: both)
	force *bool, // build also what is up to date
	failFast *bool, // --fail-fast: stop at the first failure
	keepGoing *bool, // --keep-going: a package that fails stops none that does not need it (default: it ends its build)
	mirror *string, // build cache (default: the platform's)
	registry *string, // asked for what is there already (default: the first one configured)
	spackRef *string, // --spack-ref: branch, tag or commit of Spack for the builder (default: the configured one)
	release *bool, // at a shell: packages go, signed, where releases are read (CI: on the protected default branch)
	gitCredentials *bool, // --git-credentials: read the private hosts of the configuration also where this is no release
	isolated *bool, // refuse to build in a network that is not the build's own (default: if possible)
	json *bool, // for machines
) error {
	return targets.Bare{}.Containers(ctx, platform, force, failFast, keepGoing, mirror, registry, spackRef, release, gitCredentials, isolated, json)
}

// Publish sends the images of all containers, each for all its platforms under
// one index, from their layouts to the registries.
func Publish(ctx context.Context,
	dryRun *bool, // --dry-run: say what would be sent, and send nothing
	json *bool, // for machines
	allowPartial *bool, // --allow-partial: publish also where a platform is not built
	force *bool, // replace versions that were published from another build
	release *bool, // at a shell: this is a release; CI says so itself
	registry *string, // a registry's prefix, such as 127.0.0.1:5000/ (default: all configured)
	environment *string, // only to the registries of an environment, such as staging
	branch *string, // that is published (default: CI's, or the checkout's)
	sign *string, // sign with this private key file, as cosign does; COSIGN_PASSWORD opens it
	documents *string, // none: attach nothing to the images, for registries that take no such things
) error {
	return targets.Bare{}.Publish(ctx, dryRun, json, allowPartial, force, release, registry, environment, branch, sign, documents)
}

// Sif makes and uploads the SIFs of all containers that are built.
func Sif(ctx context.Context,
	engine *string, // apptainer or native, as for sif:build
	compression *string, // zstd (default) or gzip
	branch *string, // that the images were built from (default: the checkout's)
	sifs *string, // bucket or folder (default: the configured one)
	sign *string, // sign with the PGP private key in this file
	dryRun *bool, // --dry-run: make them, say what would be sent, and send nothing
	json *bool, // for machines
) error {
	return targets.Bare{}.Sif(ctx, engine, compression, branch, sifs, sign, dryRun, json)
}
