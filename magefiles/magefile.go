//go:build mage

// Spacktainers turns Spack environments into containers and keeps their build
// cache healthy. Flags are written --like=this, after the target.
package main

import (
	"context"

	// mage:import
	"github.com/openbraininstitute/spacktainers/magefiles/targets"
)

// Base builds the base images builder and runtime where they are missing or not up to date.
func Base(ctx context.Context, platform *string, force, json *bool) error {
	return targets.Bare{}.Base(ctx, platform, force, json)
}

// Containers builds every container whose build key neither out/images nor the first registry has.
func Containers(ctx context.Context, platform *string, force, failFast *bool, mirror, registry *string, json *bool) error {
	return targets.Bare{}.Containers(ctx, platform, force, failFast, mirror, registry, json)
}
