//go:build mage

// Spacktainers turns Spack environments into containers and keeps their build
// cache healthy. Flags are written --like=this, after the target.
package main

import (
	// mage:import
	_ "github.com/openbraininstitute/spacktainers/magefiles/bare"
	// mage:import
	_ "github.com/openbraininstitute/spacktainers/magefiles/targets"
)
