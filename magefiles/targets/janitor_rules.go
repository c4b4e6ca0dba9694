package targets

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor"
)

// ruleFlags are those that say what stays whatever the roots are.
type ruleFlags struct {
	noRoots, evenIfWritten                      *bool
	maxAge, grace, wait, usedSince, accessLog   *string
	planMaxAge, buildDeps, targetSize, halfLife *string
	keepLast                                    *int
	maxFraction                                 *float64
	packages                                    janitor.Packages
}

// overruled returns a flag that is given and says another thing than a plan that was written down, or "".
func (f ruleFlags) overruled(given, plan janitor.Policy) string {
	differs := map[string]bool{
		"--max-age": f.maxAge != nil && given.MaxAge != plan.MaxAge, "--grace": f.grace != nil && given.Grace != plan.Grace,
		"--wait": f.wait != nil && given.Wait != plan.Wait, "--keep-last": f.keepLast != nil && given.KeepLast != plan.KeepLast,
		"--build-deps": f.buildDeps != nil && given.DropBuild != plan.DropBuild, "--max-fraction": f.maxFraction != nil && (given.Raise != plan.Raise || given.MaxFraction != plan.MaxFraction),
		"--target-size": f.targetSize != nil && given.TargetSize != plan.TargetSize, "--half-life": f.halfLife != nil && given.HalfLife != plan.HalfLife,
		"--even-if-written": f.evenIfWritten != nil && given.EvenIfWritten != plan.EvenIfWritten,
	}
	for _, name := range sortedKeys(differs) {
		if differs[name] {
			return name
		}
	}
	return ""
}

// policy is what flags say, or the configuration where they are not given: that
// of the mirror, or that for all.
func (r janitorRun) policy(mirror buildcache.Location) (policy janitor.Policy, err error) {
	rules, flags := r.config.Janitor, r.rules
	for _, name := range r.platformsOf(mirror) {
		rules = r.config.Platforms[name].Janitor.over(rules)
	}
	policy = janitor.Policy{NoRoots: or(flags.noRoots, false), KeepLast: or(flags.keepLast, rules.KeepLast), MaxFraction: rules.MaxFraction,
		EvenIfWritten: or(flags.evenIfWritten, false), Packages: flags.packages}
	policy.MaxAge, err = durationOr(err, "--max-age", flags.maxAge, rules.MaxAge)
	policy.Grace, err = durationOr(err, "--grace", flags.grace, rules.Grace)
	policy.Wait, err = durationOr(err, "--wait", flags.wait, rules.Wait)
	policy.PlanMaxAge, err = durationOr(err, "--plan-max-age", flags.planMaxAge, 0)
	if err != nil {
		return policy, err
	}
	if policy.HalfLife, err = durationOr(nil, "half-life", flags.halfLife, rules.HalfLife); err != nil {
		return policy, err
	}
	policy.TargetSize = int64(rules.TargetSize)
	if flags.targetSize != nil {
		if policy.TargetSize, err = parseBytes(*flags.targetSize); err != nil {
			return policy, callError{fmt.Errorf("--target-size: %w", err)}
		}
	}
	if policy.NoRoots {
		if policy.TargetSize = 0; flags.targetSize != nil {
			return policy, wrongCall("--target-size chooses among what no root needs: it cannot go with --no-roots")
		}
	}
	if policy.TargetSize == 0 {
		if policy.HalfLife = 0; flags.halfLife != nil {
			return policy, wrongCall("--half-life is for --target-size, which is not given")
		}
	}
	if policy.KeepLast < 0 {
		return policy, wrongCall("--keep-last is %d, want 0 or more", policy.KeepLast)
	}
	if f := flags.maxFraction; f != nil {
		if !(*f >= 0 && *f <= 1) { // so that NaN is refused too
			return policy, wrongCall("--max-fraction is %v, want 0 to 1", *f)
		}
		policy.Raise, policy.MaxFraction = *f, min(*f, policy.MaxFraction)
	}
	switch deps := or(flags.buildDeps, "keep"); deps {
	case "keep":
	case "drop":
		policy.DropBuild = true
	default:
		return policy, unknown("kind of build dependency", deps, []string{"keep", "drop"})
	}
	return policy, readUses(&policy, flags.usedSince, flags.accessLog)
}

func readPackagesFlag(ctx context.Context, repo *string) (janitor.Packages, error) {
	if repo == nil {
		return nil, nil
	}
	return readPackages(ctx, list(*repo))
}

// readUses reads what was used, and for how long that counts. The two flags
// mean nothing alone.
func readUses(policy *janitor.Policy, usedSince, accessLog *string) (err error) {
	if usedSince == nil && accessLog == nil {
		return nil
	}
	if usedSince == nil || accessLog == nil {
		return wrongCall("--used-since=90d and --access-log=FILE go together")
	}
	if policy.UsedSince, err = durationOr(nil, "--used-since", usedSince, 0); err != nil {
		return err
	}
	file, err := os.Open(*accessLog)
	if err != nil {
		return fmt.Errorf("access log: %w", err)
	}
	defer file.Close()
	if policy.Uses, err = janitor.ReadUses(file); err != nil {
		return fmt.Errorf("access log %s: %w", *accessLog, err)
	}
	return nil
}

// durationOr reads the flag of a name, unless an error came before.
func durationOr(before error, name string, flag *string, otherwise Duration) (time.Duration, error) {
	if before != nil || flag == nil {
		return time.Duration(otherwise), before
	}
	d, err := parseDuration(*flag)
	if err != nil {
		return 0, callError{fmt.Errorf("%s: %w", name, err)}
	}
	return d, nil
}

// list splits a flag that takes several values.
func list(flag string) []string {
	var values []string
	for value := range strings.SplitSeq(flag, ",") {
		if value = strings.TrimSpace(value); value != "" {
			values = append(values, value)
		}
	}
	return values
}

func listOr(flag *string, otherwise []string) []string {
	if flag == nil {
		return otherwise
	}
	return list(*flag)
}
