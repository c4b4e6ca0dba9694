package targets

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"

	"github.com/dustin/go-humanize"
	"go.yaml.in/yaml/v3"

	"github.com/openbraininstitute/spacktainers/buildcache/buildtime"
	"github.com/openbraininstitute/spacktainers/janitor"
)

// price fills in how long packages take to build again, as their tarballs say; what was read of a
// mirror once is kept in out/cache.
func (r janitorRun) price(ctx context.Context, m *mirrorStore, all []*janitor.Priced) error {
	packages := make([]*buildtime.Package, len(all))
	for i, p := range all {
		packages[i] = &buildtime.Package{Name: p.Spec.Name, Key: p.Key, Digest: p.Digest, Size: p.Size}
	}
	memory := r.buildTimes(m)
	err := memory.Fill(ctx, m.Store, packages)
	if err = errors.Join(err, memory.Save()); err != nil { // what was read before it failed is kept
		return fmt.Errorf("how long packages take to build: %w", err)
	}
	for i, p := range packages {
		all[i].Seconds, all[i].Estimated = p.Seconds, p.Estimated
	}
	return nil
}

func (r janitorRun) buildTimes(m *mirrorStore) *buildtime.Memory {
	return buildtime.OpenMemory(filepath.Join(workDir, "janitor", fileName(m.name)+".times"))
}

// A buildTime is how long some packages take to build.
type buildTime struct {
	seconds float64
	guess   bool
}

func (b buildTime) plus(c janitor.Condemned) buildTime {
	return buildTime{b.seconds + c.Seconds, b.guess || c.Guess}
}

// String returns it in seconds or minutes, with "about" where some of it is estimated.
func (b buildTime) String() string {
	if b.seconds == 0 {
		return ""
	}
	text := fmt.Sprintf("%.1f s", b.seconds)
	if b.seconds >= 60 {
		text = fmt.Sprintf("%.0f min", b.seconds/60)
	}
	if b.guess {
		return "about " + text
	}
	return text
}

// Bytes is a size in the configuration, such as 500GB or 2TiB.
type Bytes int64

// UnmarshalYAML reads what parseBytes does.
func (b *Bytes) UnmarshalYAML(node *yaml.Node) error {
	parsed, err := parseBytes(node.Value)
	*b = Bytes(parsed)
	return err
}

// parseBytes reads 500GB (powers of 1000), 2TiB (of 1024) or a number of bytes.
func parseBytes(text string) (int64, error) {
	n, err := humanize.ParseBytes(text)
	if err != nil || n > math.MaxInt64 {
		return 0, fmt.Errorf("%q is no size: write 500GB, 2TiB or a number of bytes", text)
	}
	return int64(n), nil
}
