//go:build !linux

package gateway

import (
	"fmt"

	"github.com/openbraininstitute/spacktainers/internal/command"
)

// Isolate needs Linux.
func (g *Gateway) Isolate() (*Namespace, error) {
	return nil, fmt.Errorf("%w: network namespaces are Linux's", ErrNotIsolated)
}

func (n *Namespace) runner(run command.Runner) command.Runner { return run }
