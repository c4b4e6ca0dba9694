package targets

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/magefile/mage/mg"

	"github.com/openbraininstitute/spacktainers/internal/ui"
	"github.com/openbraininstitute/spacktainers/janitor"
)

// Janitor keeps Spack's build caches from growing for ever. docs/janitor.md
// says how to run it.
type Janitor mg.Namespace

// Prune removes from a build cache what no lockfile needs, with the index. It
// shows a plan first; with --dry-run that is all.
func (Janitor) Prune(ctx context.Context,
	mirror *string, // build caches, by commas: s3://BUCKET/PREFIX, file:///DIR or DIR (default: those of the platforms)
	lock *string, // lockfiles whose specs stay, by commas: paths, globs, or folders that hold some
	image *string, // repositories of images whose specs stay, by commas: the lockfile of every published tag
	ignoreUnlabelled *bool, // pass over images that have no lockfile attached
	noRoots *bool, // there are no lockfiles: go by age alone
	repo *string, // package repositories, by commas: folders, or git URLs with #REF for a branch; what none has is stale
	buildDeps *string, // keep (default) or drop what only builds need
	maxAge *string, // younger specs stay, as 90d; 0: no such rule
	grace *string, // whatever is younger stays, as 48h
	usedSince *string, // what --access-log has as fetched less long ago stays, as 90d
	accessLog *string, // for --used-since: a file with a hash or key and a date on each line
	keepLast *int, // newest versions of each package that stay; 0: no such rule
	maxFraction *float64, // refuse to delete more than this of the specs or bytes
	keepFor *string, // let what goes be brought back for so long, as 14d
	plan *string, // apply this plan, as far as it is still right
	inventory *string, // manifest.json of an S3 Inventory (s3:// or a path) to plan by, instead of listing the bucket
	batchManifest *string, // delete nothing: write manifests for S3 Batch Operations, FILE for the first step and FILE-2 for the second
	dryRun *bool, // show the plan only
	json *bool, // for machines
	yes *bool, // do not ask
) error {
	a, err := start()
	if err != nil {
		return err
	}
	policy, err := a.policy(ruleFlags{noRoots, maxAge, grace, usedSince, accessLog, keepLast})
	run := janitorRun{app: a, dry: or(dryRun, false), yes: or(yes, false), json: or(json, false), planFile: or(plan, ""),
		inventory: or(inventory, ""), batch: or(batchManifest, "")}
	run.keepFor, err = durationOr(err, keepFor, 0)
	if err != nil {
		return err
	}
	policy.MaxFraction = or(maxFraction, a.config.Janitor.MaxFraction)
	if f := policy.MaxFraction; !(f >= 0 && f <= 1) { // so that NaN is refused too
		return wrongCall("--max-fraction is %v, want 0 to 1", f)
	}
	switch deps := or(buildDeps, "keep"); deps {
	case "keep":
	case "drop":
		policy.DropBuild = true
	default:
		return unknown("kind of build dependency", deps, []string{"keep", "drop"})
	}
	if repo != nil {
		if policy.Packages, err = readPackages(ctx, list(*repo)); err != nil {
			return err
		}
	}
	wanted := !policy.NoRoots && plan == nil || lock != nil || image != nil
	roots, err := a.roots(ctx, wanted, lock, image, or(ignoreUnlabelled, false))
	if err != nil {
		return err
	}
	return run.each(ctx, mirror, func(m *mirrorStore) error {
		return run.prune(ctx, m, roots, policy)
	})
}

// Why says what keeps a spec in the build cache, from the lockfile to the spec,
// or why the next prune would take it. WHAT is a hash, the beginning of one, a
// name, or name@version.
func (Janitor) Why(ctx context.Context, what string,
	mirror *string, // build caches, by commas (default: those of the platforms)
	lock *string, // lockfiles whose specs stay, by commas
	image *string, // repositories of images whose specs stay, by commas
	ignoreUnlabelled *bool, // pass over images that have no lockfile attached
	noRoots *bool, // there are no lockfiles: go by age alone
	maxAge *string, // younger specs stay, as 90d
	grace *string, // whatever is younger stays, as 48h
	usedSince *string, // what --access-log has as fetched less long ago stays, as 90d
	accessLog *string, // for --used-since
	keepLast *int, // newest versions of each package that stay
	json *bool, // for machines
) error {
	a, err := start()
	if err != nil {
		return err
	}
	policy, err := a.policy(ruleFlags{noRoots, maxAge, grace, usedSince, accessLog, keepLast})
	if err != nil {
		return err
	}
	policy.MaxFraction = 1
	roots, err := a.roots(ctx, !policy.NoRoots, lock, image, or(ignoreUnlabelled, false))
	if err != nil {
		return err
	}
	run := janitorRun{app: a, json: or(json, false)}
	return run.each(ctx, mirror, func(m *mirrorStore) error {
		return run.why(ctx, m, roots, policy, janitor.Pin(what))
	})
}

// Purge removes specs on purpose, whatever their age, with their index entries.
// SPEC is a hash, the beginning of one, a name, or name@version.
func (Janitor) Purge(ctx context.Context, spec string,
	mirror *string, // build caches, by commas (default: those of the platforms)
	match *bool, // SPEC is any part of name@version/hash
	dependents *bool, // remove what needs it at run time, too
	lock *string, // lockfiles that must not need it, by commas (default: the configured ones, if any)
	keepFor *string, // let what goes be brought back for so long, as 14d
	dryRun *bool, // show the plan only
	json *bool, // for machines
	yes *bool, // do not ask
) error {
	a, err := start()
	if err != nil {
		return err
	}
	run := janitorRun{app: a, dry: or(dryRun, false), yes: or(yes, false), json: or(json, false)}
	if run.keepFor, err = durationOr(err, keepFor, 0); err != nil {
		return err
	}
	purge := janitor.Purge{Pin: janitor.Pin(spec), Substring: or(match, false), Dependents: or(dependents, false)}
	if locks := listOr(lock, a.config.Janitor.Roots.Locks); len(locks) > 0 {
		if purge.Roots.Locks, err = readLocks(locks); err != nil {
			return err
		}
	}
	return run.each(ctx, mirror, func(m *mirrorStore) error {
		return run.purge(ctx, m, purge)
	})
}

// Verify checks a build cache: the indexes against what is there, both ways,
// and that what specs need at run time is there. --deep reads every byte.
func (Janitor) Verify(ctx context.Context,
	mirror *string, // build caches, by commas (default: those of the platforms)
	deep *bool, // check checksums, too, and signatures if there is a key
	key *string, // public key files, by commas: each package must be signed by one of them
	json *bool, // for machines
) error {
	a, err := start()
	if err != nil {
		return err
	}
	run := janitorRun{app: a, json: or(json, false)}
	return run.each(ctx, mirror, func(m *mirrorStore) error {
		return run.verify(ctx, m, or(deep, false), or(key, a.env.PublicKey))
	})
}

// Reindex writes the index of a build cache anew from its spec files, as spack
// buildcache update-index does.
func (Janitor) Reindex(ctx context.Context,
	mirror *string, // build caches, by commas (default: those of the platforms)
	dryRun *bool, // say only how many specs it would have
) error {
	a, err := start()
	if err != nil {
		return err
	}
	run := janitorRun{app: a}
	return run.each(ctx, mirror, func(m *mirrorStore) error {
		specs, err := m.janitor(a, 0).Reindex(ctx, or(dryRun, false))
		for _, key := range sortedKeys(specs) {
			err = errors.Join(err, a.Print("%s: %d specs", key, specs[key]))
		}
		return err
	})
}

// Undo takes back what a prune or purge did: packages and index entries. That
// takes --keep-for, or a bucket that keeps versions. RUN is what it printed, and
// the name of its folder in out/janitor.
func (Janitor) Undo(ctx context.Context, run string,
	mirror *string, // build cache (default: those of the platforms)
	json *bool, // for machines
) error {
	a, err := start()
	if err != nil {
		return err
	}
	r := janitorRun{app: a, json: or(json, false)}
	return r.each(ctx, mirror, func(m *mirrorStore) error {
		res, err := m.janitor(a, 0).Undo(ctx, run)
		if err != nil {
			return err
		}
		a.Log.Info("taken back", "run", run, "specs", res.Specs, "objects", res.Objects, "size", ui.Size(res.Bytes))
		return r.show(res)
	})
}

// GcTrash removes what was kept with --keep-for until now, in the trash or as
// versions, and journals that are 90 days old and of no use any more.
func (Janitor) GcTrash(ctx context.Context,
	mirror *string, // build caches, by commas (default: those of the platforms)
	json *bool, // for machines
) error {
	a, err := start()
	if err != nil {
		return err
	}
	r := janitorRun{app: a, json: or(json, false)}
	return r.each(ctx, mirror, func(m *mirrorStore) error {
		res, err := m.janitor(a, 0).GCTrash(ctx)
		a.Log.Info("trash collected", "objects", res.Objects, "size", ui.Size(res.Bytes))
		return errors.Join(err, r.show(res))
	})
}

// ruleFlags are those that say what stays whatever the roots are.
type ruleFlags struct {
	noRoots                             *bool
	maxAge, grace, usedSince, accessLog *string
	keepLast                            *int
}

// policy is what flags say, or the configuration where they are not given.
func (a *app) policy(flags ruleFlags) (policy janitor.Policy, err error) {
	rules := a.config.Janitor
	policy = janitor.Policy{NoRoots: or(flags.noRoots, false), KeepLast: or(flags.keepLast, rules.KeepLast)}
	policy.MaxAge, err = durationOr(err, flags.maxAge, rules.MaxAge)
	policy.Grace, err = durationOr(err, flags.grace, rules.Grace)
	if err == nil {
		err = readUses(&policy, flags.usedSince, flags.accessLog)
	}
	return policy, err
}

// roots reads the lockfiles of files and of images that flags name, or the
// configuration where they are not given; with the pins of that.
func (a *app) roots(ctx context.Context, wanted bool, lock, image *string, ignoreUnlabelled bool) (roots janitor.Roots, err error) {
	for _, pin := range a.config.Janitor.Pins {
		roots.Pins = append(roots.Pins, janitor.Pin(pin))
	}
	if !wanted {
		return roots, nil
	}
	rules := a.config.Janitor.Roots
	files, err := readLocks(listOr(lock, rules.Locks))
	if err != nil {
		return roots, err
	}
	published, err := a.imageLocks(ctx, listOr(image, rules.Images), ignoreUnlabelled)
	roots.Locks = append(files, published...)
	return roots, err
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
	if policy.UsedSince, err = durationOr(nil, usedSince, 0); err != nil {
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

// durationOr reads a flag, unless an error came before.
func durationOr(before error, flag *string, otherwise Duration) (time.Duration, error) {
	if before != nil || flag == nil {
		return time.Duration(otherwise), before
	}
	d, err := parseDuration(*flag)
	if err != nil {
		return 0, callError{err}
	}
	return d, nil
}

// list splits a flag that takes several values.
func list(flag string) []string {
	values := strings.Split(flag, ",")
	return slices.DeleteFunc(values, func(v string) bool { return strings.TrimSpace(v) == "" })
}

func listOr(flag *string, otherwise []string) []string {
	if flag == nil {
		return otherwise
	}
	return list(*flag)
}

var errNo = fmt.Errorf("not confirmed: nothing was changed")
