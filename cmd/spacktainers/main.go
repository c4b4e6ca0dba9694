// Spacktainers is one program with all targets, for those who have no checkout of the project:
//
//	go run github.com/openbraininstitute/spacktainers/cmd/spacktainers@latest init DIR
//
// In a repository of containers it is called as mage is: spacktainers containers:build NAME.
package main

import (
	"os"

	"github.com/openbraininstitute/spacktainers/magefiles/targets"
)

func main() { os.Exit(targets.Main()) }
