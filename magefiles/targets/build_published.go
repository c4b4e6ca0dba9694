package targets

import (
	"context"

	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/podman"
)

// published returns what asks a registry for the image of a container: the
// given prefix, or else the first configured one.
func (a *app) published(prefix *string) func(context.Context, image.Record) (*image.Record, error) {
	var r Registry
	if len(a.config.Registries) > 0 {
		r = a.config.Registries[0]
	}
	if prefix != nil {
		r.Prefix = *prefix
	}
	if r.Prefix == "" || r.Prefix == "none" {
		return nil
	}
	return podman.Registry{Prefix: r.Prefix, Insecure: r.Insecure}.Ask
}
