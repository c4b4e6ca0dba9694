package sifstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/file"
	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/sif"
	"github.com/openbraininstitute/spacktainers/internal/slurm"
	"github.com/openbraininstitute/spacktainers/internal/suggest"
)

// An Installer mirrors a store onto a disk. What it leaves there is itself a
// store: the files with their manifests, and links to the newest.
type Installer struct {
	From      Store
	Dir       string
	Names     []string // containers; none: all
	Platforms []string // none: all
	Newest    bool     // only the newest release of each
	Modules   bool     // write environment modules for Lmod
	Rehash    bool     // read also files that look the same
	Progress  func(sif.Record) func(total int64)
}

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
	catalogue, err := readCatalogue(ctx, in.From)
	if err != nil {
		return Installation{}, err
	}
	if err := in.checkNames(catalogue); err != nil {
		return Installation{}, err
	}
	var plan Installation
	for _, m := range catalogue.manifests {
		if len(in.Names) > 0 && !slices.Contains(in.Names, m.Name) {
			continue
		}
		local, err := in.local(ctx, m.Name)
		if err != nil {
			return Installation{}, err
		}
		for _, s := range m.Files {
			if !in.wants(m, s) {
				continue
			}
			state, err := in.compare(local, s)
			if err != nil {
				return Installation{}, err
			}
			plan.Files = append(plan.Files, Installed{s, state})
			local.put(s)
		}
		plan.manifests = append(plan.manifests, local)
	}
	return plan, nil
}

func (in Installer) checkNames(c catalogue) error {
	var known []string
	for _, m := range c.manifests {
		known = append(known, m.Name)
	}
	if len(known) == 0 {
		return fmt.Errorf("%s has no SIFs: there is no NAME.json", in.From)
	}
	for _, name := range in.Names {
		if !slices.Contains(known, name) {
			return fmt.Errorf("%s has no container %q: %s", in.From, name, suggest.Hint(name, known))
		}
	}
	return nil
}

func (in Installer) wants(m *Manifest, s Stored) bool {
	return (len(in.Platforms) == 0 || slices.Contains(in.Platforms, s.Platform)) && (!in.Newest || m.Newest[s.Platform].File == s.File)
}

// local is the manifest in Dir.
func (in Installer) local(ctx context.Context, container string) (*Manifest, error) {
	if _, err := os.Stat(in.Dir); errors.Is(err, fs.ErrNotExist) {
		return &Manifest{Name: container}, nil
	}
	m, _, err := readManifest(ctx, file.New(in.Dir), container)
	return m, err
}

func (in Installer) compare(local *Manifest, s Stored) (string, error) {
	path := filepath.Join(in.Dir, s.File)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return StateNew, nil
	case err != nil:
		return "", err
	case info.Size() != s.Size:
		return StateChanged, nil
	}
	if old, ok := local.find(s.File); ok && !in.Rehash {
		if old.SHA256 == s.SHA256 {
			return StateSame, nil
		}
		return StateChanged, nil
	}
	sha, err := hashFile(path)
	if err == nil && sha != s.SHA256 {
		return StateChanged, nil
	}
	return StateSame, err
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), err
}

// Execute fetches what the plan says, and then says in the manifests, links
// and modules that it is there.
func (in Installer) Execute(ctx context.Context, plan Installation) error {
	if err := os.MkdirAll(in.Dir, 0o755); err != nil {
		return err
	}
	if err := sif.Folder(in.Dir).Sweep(); err != nil {
		return err
	}
	for _, f := range plan.Files {
		if f.State == StateSame {
			continue
		}
		if err := in.fetch(ctx, f.Stored); err != nil {
			return fmt.Errorf("install %s: %w", f.File, err)
		}
	}
	to := file.New(in.Dir)
	for _, m := range plan.manifests {
		if err := changeManifest(ctx, to, m.Name, func(now *Manifest) {
			for _, s := range m.Files {
				now.put(s)
			}
		}); err != nil {
			return err
		}
		if err := in.link(m); err != nil {
			return err
		}
	}
	return syncFolder(in.Dir)
}

// A ranger reads an object from somewhere in its middle.
type ranger interface {
	GetRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, buildcache.Object, error)
}

// fetch brings one file, into an unfinished file first. What a killed run has
// left of it is taken up where it ends. A file that is in use keeps its content:
// the new one takes its name, not its place on disk.
func (in Installer) fetch(ctx context.Context, s Stored) error {
	path := filepath.Join(in.Dir, "."+s.File+"."+s.SHA256[:12]+sif.PartExt)
	part, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o755)
	if err != nil {
		return err
	}
	defer part.Close()
	if err := claim(part); err != nil {
		return err
	}
	h := sha256.New()
	have, err := io.Copy(h, part)
	if err != nil {
		return err
	}
	if have > s.Size {
		return errors.Join(fmt.Errorf("what was left of it is too long: try again"), os.Remove(path))
	}
	err = in.copyRest(ctx, s, part, h, have)
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return errors.Join(fmt.Errorf("no room for its %d bytes in %s: what was there is untouched: free some (mage sif:clean --dir=%[2]s), or give --names: %w", s.Size, in.Dir, err), os.Remove(path))
	case err != nil:
		return fmt.Errorf("%w: call it again to go on from there", err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != s.SHA256 {
		return errors.Join(fmt.Errorf("damaged on the way or in %s: its sha256 is %s, not %s: what was there is untouched", in.From, got, s.SHA256), os.Remove(path))
	}
	if err := errors.Join(part.Chmod(0o755), part.Sync()); err != nil {
		return err
	}
	return os.Rename(path, filepath.Join(in.Dir, s.File))
}

func (in Installer) copyRest(ctx context.Context, s Stored, part *os.File, h hash.Hash, have int64) error {
	if have == s.Size {
		return nil
	}
	var body io.ReadCloser
	var object buildcache.Object
	var err error
	if r, ok := in.From.(ranger); ok && have > 0 {
		body, object, err = r.GetRange(ctx, s.File, have, s.Size-have)
	} else {
		body, object, err = in.From.Get(ctx, s.File)
	}
	if err != nil {
		return err
	}
	defer body.Close()
	if object.Size != s.Size {
		return fmt.Errorf("%s holds %d bytes of it, its manifest says %d: somebody is uploading it", in.From, object.Size, s.Size)
	}
	if _, ok := in.From.(ranger); !ok {
		if _, err := io.CopyN(io.Discard, body, have); err != nil {
			return err
		}
	}
	to := io.MultiWriter(part, h)
	if in.Progress != nil {
		to = io.MultiWriter(part, h, &counter{total: have, report: in.Progress(s.Record)})
	}
	_, err = io.Copy(to, contextReader{ctx, body})
	return err
}

type counter struct {
	total  int64
	report func(int64)
}

func (c *counter) Write(p []byte) (int, error) {
	c.total += int64(len(p))
	c.report(c.total)
	return len(p), nil
}

type contextReader struct {
	ctx context.Context
	io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// link lets NAME.sif, and NAME-arm64.sif, lead to the newest release.
func (in Installer) link(m *Manifest) error {
	for platform, latest := range m.Newest {
		_, arch, _ := strings.Cut(platform, "/")
		name := m.Name
		if arch != "amd64" {
			name += "-" + arch
		}
		if err := replaceLink(latest.File, filepath.Join(in.Dir, name+sif.Ext)); err != nil {
			return err
		}
		if in.Modules {
			if err := in.module(m.Name, name, latest); err != nil {
				return err
			}
		}
	}
	return nil
}

// replaceLink makes a link in one step: nobody sees it missing.
func replaceLink(target, path string) error {
	if old, err := os.Readlink(path); err == nil && old == target {
		return nil
	}
	part := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+fmt.Sprintf(".%d", time.Now().UnixNano())+sif.PartExt)
	if err := os.Symlink(target, part); err != nil {
		return err
	}
	if err := os.Rename(part, path); err != nil {
		return errors.Join(err, os.Remove(part))
	}
	return nil
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	_ = d.Sync() // not every file system lets folders be synced
	return d.Close()
}

// module writes the environment module of the newest release: modules/NAME/VERSION.lua below the
// folder.
func (in Installer) module(container, name string, latest Latest) error {
	dir, err := filepath.Abs(in.Dir)
	if err != nil {
		return err
	}
	home := filepath.Join(dir, "modules", name)
	if err := os.MkdirAll(home, 0o755); err != nil {
		return err
	}
	m := slurm.Module{Container: container, Version: latest.Version, Digest: latest.Digest, SIF: filepath.Join(dir, latest.File)}
	return image.WriteFile(filepath.Join(home, latest.Version+".lua"), []byte(m.Lua()))
}
