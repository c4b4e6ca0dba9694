package targets

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/doctor"
	"github.com/openbraininstitute/spacktainers/internal/suite"
)

// Doctor lists what each target needs: what was found, what is missing, and
// the one command that mends it. With --online it asks also the sources, registries and build caches
// that the configuration names.
func Doctor(ctx context.Context,
	online *bool, // ask also what is elsewhere: sources, base images, registries, build caches
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	needs := slices.Concat(doctor.Needs, a.credentialNeeds())
	if or(online, false) {
		needs = slices.Concat(needs, a.onlineNeeds())
	}
	done := a.busy(ctx, "doctor", "looking at what there is")
	findings := doctor.Examine(ctx, machine(a), needs)
	done()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if or(json, false) {
		err = a.JSON(findings)
	} else {
		err = a.showFindings(findings)
	}
	if slices.ContainsFunc(findings, doctor.Finding.Fatal) {
		return errors.Join(err, errors.New("something required is missing"))
	}
	return err
}

// showFindings is a table of what there is, then a line for each thing that
// can be mended.
func (a *app) showFindings(findings []doctor.Finding) error {
	var rows [][]string
	for _, f := range findings {
		state := f.Found
		switch {
		case f.Fatal():
			state = "MISSING: " + f.Missing
		case f.Missing != "":
			state = "not here: " + f.Missing
		}
		rows = append(rows, []string{f.What, state, strings.Join(f.Targets, " ")})
	}
	if err := a.Table([]string{"need", "found", "for"}, rows); err != nil {
		return err
	}
	for _, f := range findings {
		if f.Missing == "" || f.Mend == "" {
			continue
		}
		use := "required"
		if f.Optional != "" {
			use = "optional: " + f.Optional
		}
		if err := a.Print("\n%s (%s)\n  %s", f.What, use, f.Mend); err != nil {
			return err
		}
	}
	return nil
}

// Setup installs what is missing where the system is Debian or Ubuntu and the
// user is root; elsewhere it prints the commands.
func Setup(ctx context.Context,
	dryRun *bool, // --dry-run: print the commands only
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	return doctor.Setup(ctx, machine(a), doctor.Needs, os.Stdout, or(dryRun, false))
}

func machine(a *app) doctor.Machine {
	return doctor.Here(outDir, command.Exec(a.Err()), a.env.has)
}

// Test runs the suite: format, vet, and what tests take minutes and no program
// but Go's; with --all also real servers, podman, the race detector and
// fuzzing; with --long the torture in full.
func Test(ctx context.Context,
	all *bool, // everything that CI runs: half an hour
	long *bool, // also the long torture and fuzzing: many hours
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	o := suite.Options{Dir: root, Run: command.Exec(a.Err()), Out: os.Stdout, RequireTools: a.env.RequireTools}
	switch {
	case or(long, false):
		o.Size = suite.Long
	case or(all, false):
		o.Size = suite.All
	}
	return suite.Run(ctx, o)
}
