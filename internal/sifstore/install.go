package sifstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/openbraininstitute/spacktainers/internal/sif"
	"github.com/openbraininstitute/spacktainers/internal/suggest"
)

// An Installer mirrors a store onto a disk. What it leaves there is itself a
// store: the files with their manifests, and links to the newest.
type Installer struct {
	From       Store
	Keys       Keys // whose signatures the manifests of From must have
	Dir        string
	Names      []string // containers; none: all
	Platforms  []string // none: all
	Newest     bool     // only the newest release of each
	Modules    string   // write environment modules: ModulesLmod, ModulesTcl, or empty for none
	Rehash     bool     // read also files that look the same
	AllowOlder bool     // take a manifest that is older than what is installed
	Progress   func(sif.Record) func(total int64)
}

// Kinds of environment modules.
const (
	ModulesLmod = "lmod"
	ModulesTcl  = "tcl"
)

// An Installation is what there is to do.
type Installation struct {
	Files     []Installed
	manifests []*Manifest // as they will be in Dir
}

// An Installed is a file, and what becomes of it.
type Installed struct {
	Stored
	State string
}

// Plan compares the store with the disk. It only reads.
func (in Installer) Plan(ctx context.Context) (Installation, error) {
	manifests, err := in.manifests(ctx)
	if err != nil {
		return Installation{}, err
	}
	disk, err := openDisk(in.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Installation{}, err
	}
	defer disk.Close()
	var plan Installation
	for _, m := range manifests {
		local, err := in.local(disk, m)
		if err != nil {
			return Installation{}, err
		}
		for _, s := range m.Files {
			if !in.wants(m, s) {
				continue
			}
			state, err := in.compare(disk, local, s)
			if err != nil {
				return Installation{}, err
			}
			plan.Files = append(plan.Files, Installed{s, state})
			local.put(s)
		}
		local.InstalledSequence = m.Sequence
		plan.manifests = append(plan.manifests, local)
	}
	return plan, nil
}

// manifests are those of the containers that are asked for. What is asked for
// by name is read by name, and the store not listed.
func (in Installer) manifests(ctx context.Context) ([]*Manifest, error) {
	var found []*Manifest
	for _, name := range in.Names {
		if !sif.ValidContainer(name) {
			return nil, in.unknown(ctx, name)
		}
		m, etag, err := readManifest(ctx, in.From, in.Keys, name)
		if err != nil {
			return nil, err
		}
		if etag == "" {
			return nil, in.unknown(ctx, name)
		}
		if !slices.ContainsFunc(found, func(other *Manifest) bool { return other.Name == name }) {
			found = append(found, m)
		}
	}
	if len(in.Names) > 0 {
		return found, nil
	}
	c, err := readCatalogue(ctx, in.From, in.Keys)
	if err == nil && len(c.manifests) == 0 {
		err = in.empty()
	}
	return c.manifests, err
}

func (in Installer) empty() error {
	return fmt.Errorf("%s has no SIFs: there is no NAME.json", in.From)
}

// unknown is the error of a name that the store does not have.
func (in Installer) unknown(ctx context.Context, name string) error {
	c, err := readCatalogue(ctx, in.From, in.Keys)
	if err != nil {
		return err
	}
	if len(c.manifests) == 0 {
		return in.empty()
	}
	var known []string
	for _, m := range c.manifests {
		known = append(known, m.Name)
	}
	return fmt.Errorf("%s has no container %q: %s", in.From, name, suggest.Hint(name, known))
}

func (in Installer) wants(m *Manifest, s Stored) bool {
	return (len(in.Platforms) == 0 || slices.Contains(in.Platforms, s.Platform)) && (!in.Newest || m.Newest[s.Platform].File == s.File)
}

// local is the manifest in Dir. One that is newer than that of the store means
// that an attacker has put an old one back there, to bring back what was wrong
// with what it names.
func (in Installer) local(disk *disk, remote *Manifest) (*Manifest, error) {
	m, err := disk.manifest(remote.Name)
	if err != nil {
		return nil, err
	}
	if m.InstalledSequence > remote.Sequence && !in.AllowOlder {
		return nil, fmt.Errorf("%s in %s is older, change %d, than what %s was filled from, change %d: an old one was put back, or the folder is another store's: give --allow-older to take it all the same",
			manifestKey(remote.Name), in.From, remote.Sequence, in.Dir, m.InstalledSequence)
	}
	return m, nil
}

// compare says what is to be done for a file. What others could have changed
// is not the same, whatever it looks like.
func (in Installer) compare(disk *disk, local *Manifest, s Stored) (string, error) {
	info, err := disk.lookAt(s.File)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return StateNew, nil
	case err != nil:
		return "", err
	case info.Size() != s.Size, info.Mode()&0o022 != 0:
		return StateChanged, nil
	}
	if old, ok := local.find(s.File); ok && !in.Rehash {
		if old.SHA256 == s.SHA256 {
			return StateSame, nil
		}
		return StateChanged, nil
	}
	sha, err := disk.hash(s.File)
	if err == nil && sha != s.SHA256 {
		return StateChanged, nil
	}
	return StateSame, err
}
