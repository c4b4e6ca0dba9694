package targets

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/openbraininstitute/spacktainers/internal/sifstore"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
)

// sifRoots adds what the SIFs need that are published where the configuration
// says. sums are the checksums of lockfiles that are roots already. unread says
// why the SIFs could not be read, which no flag passes over.
func (a *app) sifRoots(ctx context.Context, roots *rootset.Roots, sums map[string]bool) (unread string, err error) {
	if a.config.SIFs == "" {
		return "", nil
	}
	locks, err := a.sifLocks(ctx)
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err != nil {
		return fmt.Sprintf("the SIFs in %s cannot be read (%v): --lock and --image go by what they name alone", a.config.SIFs, err), nil
	}
	var without []string
	for _, l := range locks {
		switch {
		case sums[l.SHA256]:
		case l.Text == nil:
			without = append(without, l.Files...)
		default:
			root, err := rootset.ParseLock("SIF "+someOf(l.Files), l.Text)
			if err != nil {
				return "", fmt.Errorf("lockfile of %s in %s: %w", someOf(l.Files), a.config.SIFs, err)
			}
			roots.Locks = append(roots.Locks, root)
		}
	}
	if len(without) > 0 {
		roots.Unknown = append(roots.Unknown, fmt.Sprintf("no lockfile is kept of %s in %s: build and upload them again, or --ignore-unlocked passes over that", someOf(without), a.config.SIFs))
	}
	return "", nil
}

func (a *app) sifLocks(ctx context.Context) ([]sifstore.Lockfile, error) {
	store, err := a.openSIFs(ctx, nil)
	if err != nil {
		return nil, err
	}
	keys, err := a.sifKeys(nil, nil)
	if err != nil {
		return nil, err
	}
	return sifstore.Locks(ctx, store, keys)
}

func sumOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
