package sifstore

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/internal/sif"
)

// A manifest comes out of a bucket or a folder that others may write to, and what it says becomes
// names of files, lines of module files and of screens. So each field is compared with what this
// project writes before anything is done with it.

const (
	maxText = 512     // bytes of a field
	maxSize = 1 << 40 // bytes of a SIF: far beyond any, and below what would fill most disks
)

var (
	hexSHA256 = regexp.MustCompile(`^[0-9a-f]{64}$`)
	// What Spack and tags of images call a version: 1.0, develop, git.feature/x=1.0.
	versionText = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+~=:@/-]*$`)
)

// check returns the first thing in a manifest that this project does not write.
func (m *Manifest) check(container string) error {
	if m.Name != container {
		return fmt.Errorf("it is the manifest of %q", m.Name)
	}
	if m.Sequence < 0 || m.InstalledSequence < 0 {
		return fmt.Errorf("its sequence is negative")
	}
	seen := map[string]Stored{}
	for _, s := range m.Files {
		if err := checkRecord(container, s.Record); err != nil {
			return fmt.Errorf("file %q: %w", s.File, err)
		}
		if _, twice := seen[s.File]; twice {
			return fmt.Errorf("file %q is in it twice", s.File)
		}
		seen[s.File] = s
	}
	for platform, latest := range m.Newest {
		s, ok := seen[latest.File]
		if !ok || s.Platform != platform || s.Branch != "" || latest != newLatest(s) {
			return fmt.Errorf("the newest for %q, %q, is no release in it", platform, latest.File)
		}
	}
	return nil
}

func checkRecord(container string, r sif.Record) error {
	arch, ok := strings.CutPrefix(r.Platform, "linux/")
	switch {
	case r.Name != container:
		return fmt.Errorf("it belongs to %q", r.Name)
	case !ok || !sif.KnownArch(arch):
		return fmt.Errorf("unknown platform %q", r.Platform)
	case !versionText.MatchString(r.Version):
		return fmt.Errorf("%q is no version", r.Version)
	case r.Size < 0 || r.Size > maxSize:
		return fmt.Errorf("%d bytes are no size of a SIF", r.Size)
	case !hexSHA256.MatchString(r.SHA256):
		return fmt.Errorf("sha256 %q is not 64 hexadecimal digits", r.SHA256)
	}
	unpinned := r.Kind == sif.KindDefinitionFile && r.Digest == "" // it starts from no image of a registry
	if _, err := v1.NewHash(r.Digest); err != nil && !unpinned {
		return fmt.Errorf("digest %q: %w", r.Digest, err)
	}
	for field, text := range map[string]string{
		"branch": r.Branch, "version": r.Version, "kind": r.Kind, "source": r.Source, "build_key": r.BuildKey, "lock": r.Lock,
		"compression": string(r.Compression), "engine": r.Engine, "signed_by": r.SignedBy,
	} {
		if !plain(text) {
			return fmt.Errorf("%s %q is no plain text of at most %d bytes", field, text[:min(len(text), maxText)], maxText)
		}
	}
	name, err := sif.NewName(r.Name, r.Version, r.Branch, arch)
	if err != nil {
		return err
	}
	if r.File != name.String() {
		return fmt.Errorf("a SIF of %s %s is called %q", r.Name, r.Version, name)
	}
	return nil
}

// plain reports whether text is short and of characters that a line can show.
func plain(text string) bool {
	return len(text) <= maxText && utf8.ValidString(text) &&
		!strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}
