//go:build ignore

// Runs the project's targets on a machine that has Go and nothing else:
//
//	go run magefile.go quickstart
//
// It is stock mage; it only makes sure that no target outlives the go command
// that started it.
package main

import (
	"os"

	"github.com/magefile/mage/mage"
	"github.com/openbraininstitute/spacktainers/internal/parentdeath"
)

func main() {
	parentdeath.Hold()
	os.Exit(mage.Main())
}
