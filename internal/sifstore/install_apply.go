package sifstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/ctxio"
	"github.com/openbraininstitute/spacktainers/internal/publish/branch"
	"github.com/openbraininstitute/spacktainers/internal/sif"
	"github.com/openbraininstitute/spacktainers/internal/slurm"
)

// Apply fetches what the plan says, and then says in the manifests, links and
// modules that it is there.
func (in Installer) Apply(ctx context.Context, plan Installation) error {
	if err := os.MkdirAll(in.Dir, 0o755); err != nil {
		return err
	}
	disk, err := openDisk(in.Dir)
	if err != nil {
		return err
	}
	defer disk.Close()
	if err := disk.openStage(); err != nil {
		return err
	}
	for _, f := range plan.Files {
		if f.State == StateSame {
			continue
		}
		if err := in.fetch(ctx, disk, f.Stored); err != nil {
			return fmt.Errorf("install %s: %w", f.File, err)
		}
	}
	for _, m := range plan.manifests {
		if err := in.record(disk, m); err != nil {
			return err
		}
	}
	return disk.sync()
}

// record writes the manifest of a container, on top of what another run may
// have written meanwhile, and what leads to its newest SIFs.
func (in Installer) record(disk *disk, m *Manifest) error {
	now, err := disk.manifest(m.Name)
	if err != nil {
		return err
	}
	for _, s := range m.Files {
		now.put(s)
	}
	now.InstalledSequence, now.Signature = m.InstalledSequence, nil
	text, err := encodeManifest(*now)
	if err != nil {
		return err
	}
	if err := disk.write("", manifestKey(m.Name), text); err != nil {
		return err
	}
	for platform, latest := range m.Newest {
		name := m.Name
		if _, arch, _ := strings.Cut(platform, "/"); arch != "amd64" {
			name += "-" + arch
		}
		if err := disk.link(latest.File, name+sif.Ext); err != nil {
			return err
		}
		if in.Modules != "" {
			if err := in.module(disk, m.Name, name, latest); err != nil {
				return err
			}
		}
	}
	return nil
}

// module writes the environment module of the newest release: modules/NAME/VERSION, with .lua for
// Lmod.
func (in Installer) module(disk *disk, container, name string, latest Latest) error {
	m := slurm.Module{Container: container, Version: latest.Version, Digest: latest.Digest, SIF: filepath.Join(disk.path, latest.File)}
	file, text := branch.Version(latest.Version)+".lua", m.Lua()
	if in.Modules == ModulesTcl {
		file, text = branch.Version(latest.Version), m.Tcl()
	}
	return disk.write(filepath.Join("modules", name), file, []byte(text))
}

// A ranger reads an object from somewhere in its middle.
type ranger interface {
	GetRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, buildcache.Object, error)
}

// fetch brings one file, into an unfinished file first. What a killed run has
// left of it is taken up where it ends. A file that is in use keeps its content:
// the new one takes its name, not its place on disk.
func (in Installer) fetch(ctx context.Context, disk *disk, s Stored) error {
	if _, err := disk.lookAt(s.File); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	name := s.File + "." + s.SHA256[:12] + sif.PartExt
	part, err := disk.part(name)
	if err != nil {
		return err
	}
	defer part.Close()
	drop := func(why error) error { return errors.Join(why, disk.stage.Remove(name)) }
	h := sha256.New()
	have, err := io.Copy(h, part)
	if err != nil {
		return err
	}
	if have > s.Size {
		return drop(errors.New("what was left of it is too long: try again"))
	}
	err = in.copyRest(ctx, s, part, h, have)
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return drop(fmt.Errorf("no room for its %d bytes in %s: what was there is untouched: free some (mage sif:clean --dir=%[2]s), or give --names: %w", s.Size, in.Dir, err))
	case errors.Is(err, errTooLong):
		return drop(fmt.Errorf("%w: what was there is untouched", err))
	case err != nil:
		return fmt.Errorf("%w: call it again to go on from there", err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != s.SHA256 {
		return drop(fmt.Errorf("damaged on the way or in %s: its sha256 is %s, not %s: what was there is untouched", in.From, got, s.SHA256))
	}
	if err := errors.Join(part.Chmod(0o755), part.Sync()); err != nil {
		return err
	}
	return disk.place(part, name, "", s.File)
}

var errTooLong = errors.New("there are more bytes of it than its manifest says")

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
		return fmt.Errorf("%s holds %d bytes of it, its manifest says %d: another process is uploading it", in.From, object.Size, s.Size)
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
	n, err := io.Copy(to, io.LimitReader(ctxio.Reader(ctx, body), s.Size-have+1))
	if err == nil && have+n > s.Size {
		return errTooLong
	}
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
