package targets

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/publish"
	"github.com/openbraininstitute/spacktainers/internal/ui"
)

// Verify reads a container back from the registries and checks every byte of
// it, and with a key its signatures. With --rebuild it is made again on this
// machine, and what differs is said.
func (Publish) Verify(ctx context.Context, name string,
	tag *string, // to verify (default: latest)
	key *string, // public key file: index and images must be signed by it (default: image_key, for releases)
	registry *string, // a registry's prefix (default: all configured)
	rebuild *bool, // make it again from its own lockfile and the build cache, and compare: every byte, or of one that podman built every file of its packages
	mirror *string, // with --rebuild: build cache (default: the platform's)
	base *string, // with --rebuild: image below an assembled one (default: the one that it names)
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	if !or(rebuild, false) && (mirror != nil || base != nil) {
		return wrongCall("--mirror and --base are for --rebuild")
	}
	var verifier *attest.Verifier
	switch {
	case key != nil:
		verifier, err = attest.ReadVerifier(*key)
	case registry == nil && !strings.Contains(name, "/"): // a release
		verifier, err = a.releaseVerifier()
	}
	if err != nil {
		return err
	}
	refs, err := a.references(name, tag, registry)
	if err != nil {
		return err
	}
	client, end, err := a.registryClient(ctx)
	if err != nil {
		return err
	}
	defer end()
	results := []verifiedImage{}
	var errs []error
	for _, ref := range refs {
		done := a.busy(ctx, ref.String(), "verifying every byte")
		verified, err := publish.Verify(ctx, client, ref, verifier)
		done()
		if err != nil {
			errs = append(errs, fmt.Errorf("verify %w", err))
			continue
		}
		result := verifiedImage{Verified: verified}
		if or(rebuild, false) {
			if result.Rebuilt, err = a.rebuild(ctx, client, ref, rebuilding{mirror, base, a.env.PublicKey}); err != nil {
				errs = append(errs, err)
			}
		}
		results = append(results, result)
	}
	if or(json, false) {
		return errors.Join(append(errs, a.JSON(results), a.showRebuilt(results, true))...)
	}
	var rows [][]string
	for _, r := range results {
		rows = append(rows, []string{r.Ref, r.Digest.String(), strings.Join(r.Platforms, " "), fmt.Sprint(r.Blobs), ui.Size(r.Bytes), fmt.Sprint(r.Attached), yes(r.Signed)})
	}
	if len(rows) > 0 {
		errs = append(errs, a.Table([]string{"reference", "digest", "platforms", "blobs", "size", "documents", "signature checked"}, rows))
	}
	return errors.Join(append(errs, a.showRebuilt(results, false))...)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// references turns NAME, NAME:TAG or a whole reference into what it is called
// in the registries.
func (a *app) references(text string, tag, registry *string) ([]name.Reference, error) {
	if strings.Contains(text, "/") {
		if tag != nil {
			text += ":" + *tag
		}
		client, err := a.client()
		if err != nil {
			return nil, err
		}
		ref, err := client.Reference(text)
		if err != nil {
			return nil, callError{err}
		}
		return []name.Reference{ref}, nil
	}
	container, given, _ := strings.Cut(text, ":")
	if name, version, ok := strings.Cut(container, "@"); ok {
		return nil, wrongCall("%s: a tag stands behind a colon: %s:%s", text, name, version)
	}
	registries, err := a.registries(registry, nil)
	if err != nil {
		return nil, err
	}
	var refs []name.Reference
	for _, r := range registries {
		repository, err := r.Repository(a.definedName(container))
		if err != nil {
			return nil, callError{err}
		}
		refs = append(refs, repository.Tag(cmp.Or(or(tag, ""), given, publish.Latest)))
	}
	return refs, nil
}
