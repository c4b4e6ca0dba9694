// Package targets is what mage offers: each target reads its arguments, wires
// the rooms together and calls once.
package targets

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/internal/filelock"
	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/podman"
	"github.com/openbraininstitute/spacktainers/internal/ui"
)

// Where targets leave their results and what they want to keep between runs.
var (
	outDir  = filepath.Join(root, "out")
	workDir = filepath.Join(outDir, "cache") // may be removed at any time: it only saves work
)

var images = image.Tree(filepath.Join(outDir, "images"))

// Bare holds the targets that have the name of a namespace and no colon, such
// as containers beside containers:build: package bare lends them one.
type Bare struct{}

// An app is what every target starts from.
type app struct {
	*ui.UI
	config Config
	env    environment
	reader reader // of registries
}

func start() (*app, error) {
	working.Store(true)
	env := readEnvironment()
	u := ui.New(os.Stdout, os.Stderr, ui.CI(env.CI), ui.Style{NoColor: env.NoColor, Plain: shown.Plain, Quiet: shown.Quiet})
	u.Summary = env.SummaryFile
	filelock.Notice = func(sentence string) { u.Log.Warn(sentence) }
	config, err := loadConfig(filepath.Join(root, ConfigFile))
	config.below(root)
	summary = u
	return &app{UI: u, config: config, env: env}, err
}

// startWith starts with another Spack in the builder than the configuration says, if one is given.
func startWith(spackRef *string) (*app, error) {
	a, err := start()
	if err != nil || spackRef == nil {
		return a, err
	}
	a.config.Spack.Ref = *spackRef
	if err := (podman.Source{URL: a.config.Spack.URL, Ref: *spackRef}).Check(); err != nil {
		return a, callError{fmt.Errorf("--spack-ref: %w", err)}
	}
	return a, nil
}

// busy shows that something goes on of which no one tells how far it is. What it returns ends that; it
// may be called again.
func (a *app) busy(ctx context.Context, who, what string) (done func()) {
	progress := a.Progress(ctx)
	progress.Begin(who).Count(what, 0, 0, ui.Things)
	return progress.Close
}

// parsePlatform reads linux/amd64.
func parsePlatform(text string) (v1.Platform, error) {
	platform, err := v1.ParsePlatform(text)
	if err != nil || platform.OS != "linux" || platform.Architecture != "amd64" && platform.Architecture != "arm64" {
		return v1.Platform{}, wrongCall("unknown platform %q: linux/amd64 or linux/arm64", text)
	}
	return *platform, nil
}

// or is the value of a flag, or what holds where it is not given.
func or[T any](flag *T, otherwise T) T {
	if flag == nil {
		return otherwise
	}
	return *flag
}

// parallel is how many packages are fetched at a time: each takes a core to
// decompress, and the network some more to wait for.
func parallel() int { return 2 * runtime.GOMAXPROCS(0) }
