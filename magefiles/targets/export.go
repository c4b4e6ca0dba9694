package targets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"github.com/openbraininstitute/spacktainers/internal/assemble"
	"github.com/openbraininstitute/spacktainers/internal/atomicfile"
	"github.com/openbraininstitute/spacktainers/internal/container"
	"github.com/openbraininstitute/spacktainers/internal/definition"
	"github.com/openbraininstitute/spacktainers/internal/quote"
)

// Export writes the environment of a container as plain Spack reads it. It is to
// make the same with a Spack of one's own, outside any container: the merged
// spack.yaml, and above it the commands that lead to an installed environment.
func (Containers) Export(ctx context.Context, name string,
	platform *string, // linux/amd64 or linux/arm64 (default: the one that it is defined for)
	spack *bool, // as a Spack environment, which is the only form so far (default)
	out *string, // a new folder for spack.yaml, the lockfile and the files that they refer to (default: spack.yaml to standard output)
) (err error) {
	defer finish(ctx, &err)
	if !or(spack, true) {
		return wrongCall("--spack=false: a Spack environment is the only form so far")
	}
	a, err := start()
	if err != nil {
		return err
	}
	defs, err := a.find(name, platform)
	if err != nil {
		return err
	}
	if len(defs) > 1 {
		return wrongCall("%s is defined for %d platforms: choose one by --platform", name, len(defs))
	}
	d := defs[0]
	c, err := container.New(d, a.config.Platforms[d.Platform].Target)
	if err != nil {
		return fmt.Errorf("%s: %w", d.Path, err)
	}
	if out == nil {
		if len(c.Included) > 0 {
			return wrongCall("%s refers to other files, such as %s: give --out=DIR for all of them", d.Path, d.Included[0].Source)
		}
		return a.Text(string(a.plainEnvironment(c, d, "")))
	}
	if err := a.exportTo(c, d, *out); err != nil {
		return err
	}
	a.Log.Info("exported: the commands are at the top", "file", filepath.Join(*out, "spack.yaml"))
	return nil
}

// exportTo writes the folder whole, or not at all.
func (a *app) exportTo(c container.Container, d definition.Definition, dir string) (err error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if d.LockPath != "" {
		text, err := os.ReadFile(filepath.Join(d.Root, d.LockPath))
		if err != nil {
			return err
		}
		if err := atomicfile.Write(filepath.Join(dir, "spack.lock"), text, 0o644); err != nil {
			return err
		}
	}
	for _, f := range c.Included {
		if err := copyInto(filepath.Join(dir, filepath.FromSlash(f.Target)), f.Source); err != nil {
			return err
		}
	}
	return atomicfile.Write(filepath.Join(dir, "spack.yaml"), a.plainEnvironment(c, d, dir), 0o644)
}

// copyInto copies a file, or a folder with all that is in it, to a target that does not exist.
func copyInto(target, source string) error {
	info, err := os.Stat(source)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return os.CopyFS(target, os.DirFS(source))
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	text, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	return atomicfile.Write(target, text, info.Mode().Perm())
}

// plainEnvironment is the merged spack.yaml, below the commands that install it: the folder that it
// is in is an environment by itself; without one, the environment is made from a file.
func (a *app) plainEnvironment(c container.Container, d definition.Definition, dir string) []byte {
	var b bytes.Buffer
	line := func(words ...string) { fmt.Fprintf(&b, "#   %s\n", quote.Comment(quote.Line(words))) }
	fmt.Fprintf(&b, "# %s, as Spack reads it. With a Spack of one's own:\n#\n", c)
	clone := func(url, ref, folder string) {
		line("git", "clone", "--", url, folder)
		if ref != "" {
			line("git", "-C", folder, "checkout", ref)
		}
	}
	s := a.config.Spack
	clone(s.URL, s.Ref, "spack")
	fmt.Fprintln(&b, "#   . spack/share/spack/setup-env.sh")
	for i, r := range s.Repos {
		folder := fmt.Sprintf("repos-%d", i+1)
		clone(r.URL, r.Ref, folder)
		for _, p := range r.Paths {
			line("spack", "repo", "add", path.Join(folder, p))
		}
	}
	if mirror := a.config.Platforms[d.Platform].Mirror; mirror != "" {
		line("spack", "mirror", "add", "spacktainers", mirror)
	}
	if dir == "" {
		line("spack", "env", "create", c.Name, "spack.yaml")
		line("spack", "-e", c.Name, "install")
	} else {
		if !filepath.IsAbs(dir) {
			dir = "." + string(filepath.Separator) + dir // else Spack looks for a name
		}
		line("spack", "-e", dir, "install")
	}
	b.WriteString("\n")
	// The image's view would be outside of what a user may write to.
	b.Write(bytes.Replace(c.Spack, []byte("\n  view: "+assemble.View+"\n"), []byte("\n  view: true\n"), 1))
	return b.Bytes()
}
