//go:build ignore

// Runs the project's targets on a machine that has Go and nothing else:
//
//	go run magefile.go quickstart
//
// It is stock mage; it only makes sure that no target outlives the go command
// that started it, and that from another folder, as in go run ../magefile.go,
// the targets are found: paths in arguments are those of that folder.
package main

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/magefile/mage/mage"
	"github.com/openbraininstitute/spacktainers/internal/parentdeath"
)

func main() {
	parentdeath.Hold()
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) { // it is not where paths are trimmed
		os.Args = append([]string{os.Args[0], "-d", filepath.Dir(file), "-w", "."}, os.Args[1:]...)
	}
	if len(os.Args) > 2 && slices.Contains([]string{"-h", "--h", "-help", "--help"}, os.Args[len(os.Args)-2]) {
		last := len(os.Args) - 1 // mage would explain the target with the flags as Go has them
		os.Args[last-1], os.Args[last] = os.Args[last], "--help"
	}
	os.Exit(mage.Main())
}
