//go:build mage

// Spacktainers turns Spack environments into containers and keeps their build
// cache healthy. Flags are written --like=this, after the target.
package main

import (
	"context"

	// mage:import
	"github.com/openbraininstitute/spacktainers/magefiles/targets"
)

// Sif makes and uploads the SIFs of all containers that are built.
func Sif(ctx context.Context,
	engine *string, // apptainer or native, as for sif:build
	compression *string, // zstd (default) or gzip
	branch *string, // that the images were built from (default: the checkout's)
	sifs *string, // bucket or folder (default: the configured one)
	sign *string, // sign with the PGP private key in this file
	dryRun *bool, // make them, say what would be sent, and send nothing
	json *bool, // for machines
) error {
	return targets.Bare{}.Sif(ctx, engine, compression, branch, sifs, sign, dryRun, json)
}
