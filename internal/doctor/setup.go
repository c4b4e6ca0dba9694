package doctor

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/command"
)

// Setup mends what it can of the needs: it installs Debian packages where it may, and writes
// podman's private containers.conf where the machine asks for one. What it cannot do it prints as
// commands; a dry run only prints. It fails where something that targets cannot do without is still
// missing afterwards.
func Setup(ctx context.Context, m Machine, needs []Need, w io.Writer, dryRun bool) error {
	before := Examine(ctx, m, needs)
	if err := m.installMissing(ctx, before, w, dryRun); err != nil {
		return err
	}
	if err := m.mendAsRoot(ctx, needs, w, dryRun); err != nil {
		return err
	}
	if err := m.writeConf(w, dryRun); err != nil || dryRun {
		return err
	}
	var missing []string
	for _, f := range Examine(ctx, m, needs) {
		switch {
		case f.Missing == "":
			continue
		case f.Fatal():
			missing = append(missing, f.What)
		}
		fmt.Fprintf(w, "%s: %s (%s)\n", f.What, f.Missing, cmp.Or(f.Mend, "nothing mends that here"))
	}
	if len(missing) > 0 {
		return fmt.Errorf("set up: still missing: %s", strings.Join(missing, ", "))
	}
	return nil
}

// mendAsRoot runs the commands that a finding leaves to setup, such as registering qemu as the
// handler of arm64 programs. One can uncover the next: the file system of handlers is mounted
// first.
func (m Machine) mendAsRoot(ctx context.Context, needs []Need, w io.Writer, dryRun bool) error {
	if !m.debian() || m.UID != 0 {
		return nil
	}
	done := map[string]bool{}
	for more := true; more; {
		more = false
		for _, f := range Examine(ctx, m, needs) {
			line := command.Quote(f.setup)
			if len(f.setup) == 0 || done[line] {
				continue
			}
			done[line], more = true, !dryRun
			fmt.Fprintln(w, line)
			if dryRun {
				continue
			}
			if err := m.Run(ctx, command.Cmd{Args: f.setup}); err != nil {
				fmt.Fprintf(w, "%s: %v\n", f.What, err) // a container cannot mount: what else there is to do is done
			}
		}
	}
	return nil
}

func (m Machine) installMissing(ctx context.Context, findings []Finding, w io.Writer, dryRun bool) error {
	var packages []string
	for _, f := range findings {
		packages = append(packages, f.Packages...)
	}
	if len(packages) == 0 {
		return nil
	}
	slices.Sort(packages)
	packages = slices.Compact(packages)
	if !m.debian() || m.UID != 0 {
		fmt.Fprintln(w, m.install(packages))
		return nil
	}
	for _, args := range [][]string{{"apt-get", "update"}, aptInstall(packages)} {
		fmt.Fprintln(w, command.Quote(args))
		if dryRun {
			continue
		}
		c := command.Cmd{Args: args, Env: []string{"DEBIAN_FRONTEND=noninteractive"}}
		if err := m.Run(ctx, c); err != nil {
			return fmt.Errorf("set up: %w", err)
		}
	}
	return nil
}

// writeConf writes the private containers.conf where podman needs one and no other one is named.
func (m Machine) writeConf(w io.Writer, dryRun bool) error {
	if len(m.obstacles()) == 0 || m.HasEnv("CONTAINERS_CONF") || m.confUpToDate() || !dryRun && !m.has("podman") {
		return nil
	}
	fmt.Fprintf(w, "write %s, for CONTAINERS_CONF=%[1]s\n", m.confFile())
	if dryRun {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(m.confFile()), 0o755); err != nil {
		return fmt.Errorf("set up podman: %w", err)
	}
	if err := os.WriteFile(m.confFile(), []byte(m.conf()), 0o644); err != nil {
		return fmt.Errorf("set up podman: %w", err)
	}
	return nil
}
