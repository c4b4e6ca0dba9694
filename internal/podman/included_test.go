package podman

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/container"
)

// The builder copies spack.* beside the environment, and of folders what is in them.
func TestIncludedFilesAreInTheContext(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "common.yaml"), "packages: {}")
	c := hello(t)
	c.Included = []container.File{{Source: filepath.Join(dir, "common.yaml"), Target: "included/0/x/common.yaml"}}
	context := filepath.Join(dir, "context")
	if err := c.writeContext(context, nil); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(context, "spack.included/included/0/x/common.yaml")); err != nil || string(text) != "packages: {}" {
		t.Errorf("got %q, %v", text, err)
	}
}
