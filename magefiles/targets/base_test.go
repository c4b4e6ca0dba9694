package targets

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/podman"
)

// A repository without the folders of base images builds the same ones as this.
func TestBaseImagesOfTheProgramAreThoseOfTheFolders(t *testing.T) {
	for _, name := range podman.Bases {
		keyOf := func(b podman.Base) string {
			t.Helper()
			b.Name, b.Platform, b.From = name, "linux/amd64", "x@sha256:"+strings.Repeat("1", 64)
			_, key, err := b.Pin(t.Context(), podman.Podman{})
			if err != nil {
				t.Fatal(err)
			}
			return key
		}
		embedded, folder := keyOf(podman.Base{Files: baseFiles(name)}), keyOf(podman.Base{Files: os.DirFS(filepath.Join(repository, name))})
		if embedded != folder {
			t.Errorf("%s: the program's files are not those of the folder", name)
		}
		if none := keyOf(podman.Base{Files: os.DirFS(t.TempDir())}); none == folder {
			t.Errorf("%s: the key does not know its files", name)
		}
	}
}
