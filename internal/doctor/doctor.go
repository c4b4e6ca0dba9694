// Package doctor examines what the targets need on this machine: what is there, what is missing,
// and the one command that mends it. It installs Debian packages and writes below the project's out
// folder; it never edits /etc or a person's own configuration, and it says of a credential only
// whether it is there.
package doctor

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/command"
)

// A Need is something outside this repository that targets use.
type Need struct {
	What     string   `json:"what"`
	Targets  []string `json:"targets"`
	Optional string   `json:"optional,omitempty"` // what it adds to targets that also work without; empty: they do not
	Probe    Probe    `json:"-"`
	Mend     []string `json:"-"` // the command that mends it, where that is not installing Debian
	Advice   string   `json:"-"` // a sentence instead, where no command should be copied: it would run what it downloads
	Debian   []string `json:"-"` // the packages that bring it
}

// A Probe looks whether a need is met: it returns what it found, mostly a version, or what is
// missing.
type Probe func(context.Context, Machine) (found string, err error)

// A Finding is what became of a Need on a machine.
type Finding struct {
	Need
	Found    string   `json:"found,omitempty"`
	Missing  string   `json:"missing,omitempty"`  // what is wrong; empty: nothing
	Mend     string   `json:"mend,omitempty"`     // the one command, or a sentence
	Packages []string `json:"packages,omitempty"` // what that command installs on Debian

	setup []string // the command, where Setup may run it as root
}

// Fatal reports whether the targets cannot do without what is missing.
func (f Finding) Fatal() bool { return f.Missing != "" && f.Optional == "" }

// probeTime is how long one probe may take: a program that hangs on --version is not usable either.
const probeTime = 10 * time.Second

// Examine probes all needs at once and returns a finding for each, in their order.
func Examine(ctx context.Context, m Machine, needs []Need) []Finding {
	findings := make([]Finding, len(needs))
	var wg sync.WaitGroup
	for i, n := range needs {
		wg.Go(func() { findings[i] = m.examine(ctx, n) })
	}
	wg.Wait()
	return findings
}

func (m Machine) examine(ctx context.Context, n Need) Finding {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	found, err := n.Probe(ctx, m)
	if err == nil {
		return Finding{Need: n, Found: found}
	}
	cure := &lack{mend: n.Mend, packages: n.Debian}
	errors.As(err, &cure)
	f := Finding{Need: n, Missing: err.Error(), Packages: cure.packages, Mend: command.Quote(cure.mend)}
	if f.Mend == "" {
		f.Mend = n.Advice
	}
	if f.Mend == "" && len(f.Packages) > 0 {
		f.Mend = m.install(f.Packages)
	}
	if cure.setup {
		f.setup, f.Mend = cure.mend, m.asRoot(cure.mend)
	}
	return f
}

// A lack is a probe's error that knows better than the Need what mends it; with neither, nothing
// here does.
type lack struct {
	why      string
	mend     []string
	packages []string
	setup    bool // Setup may run mend as root: it changes nothing that stays
}

func (l *lack) Error() string { return l.why }

// install says how packages come onto this machine.
func (m Machine) install(packages []string) string {
	if !m.debian() {
		return "install with your package manager: " + strings.Join(packages, " ")
	}
	return m.asRoot(aptInstall(packages))
}

// asRoot is a command that only root may give, as this user types it.
func (m Machine) asRoot(args []string) string {
	if m.UID != 0 {
		return "sudo " + command.Quote(args)
	}
	return command.Quote(args)
}

func aptInstall(packages []string) []string {
	return append([]string{"apt-get", "install", "-y", "--no-install-recommends"}, packages...)
}
