package targets

import (
	"context"
	"path/filepath"
	"slices"

	"github.com/openbraininstitute/spacktainers/internal/keypair"
)

// keyKinds are what keys of a site sign.
var keyKinds = []string{"images", "packages", "sifs"}

// Keys makes a key pair in the folder DIR to sign packages, images or SIFs with.
// COSIGN_PASSWORD protects a private key for images, SIF_KEY_PASSPHRASE one for SIFs.
func Keys(ctx context.Context, dir string,
	for_ *string, // --for: packages, images or sifs (default: a pair for each)
	name *string, // that packages and SIFs show as their signer's (default: spacktainers)
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	kinds := keyKinds
	if for_ != nil {
		if kinds = []string{*for_}; !slices.Contains(keyKinds, *for_) {
			return unknown("kind of key", *for_, keyKinds)
		}
	}
	for _, kind := range kinds {
		var pair keypair.Pair
		protected := ""
		switch kind {
		case "images":
			protected = a.env.KeyPass
			pair, err = keypair.Cosign(protected)
		case "sifs":
			protected = a.env.SIFPassphrase
			pair, err = keypair.OpenPGP(or(name, "spacktainers"), protected)
		default:
			pair, err = keypair.OpenPGP(or(name, "spacktainers"), "")
		}
		if err != nil {
			return err
		}
		if err := pair.Write(dir, kind); err != nil {
			return err
		}
		if protected == "" {
			a.Log.Warn("no passphrase protects it: keep it where secrets are kept", "key", filepath.Join(dir, kind+".key"))
		}
		if err := a.Print("%s", filepath.Join(dir, kind+".pub")); err != nil {
			return err
		}
	}
	return nil
}
