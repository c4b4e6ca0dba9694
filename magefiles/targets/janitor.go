package targets

import (
	"context"
	"errors"

	"github.com/magefile/mage/mg"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
)

// Janitor keeps Spack's build caches from growing for ever. docs/janitor.md
// says how to run it.
type Janitor mg.Namespace

// Prune condemns what no root needs, and deletes from a build cache what has
// waited since it was condemned, with the index. It shows a plan first; with
// --dry-run that is all.
func (Janitor) Prune(ctx context.Context,
	mirror *string, // build caches, by commas: s3://BUCKET/PREFIX, file:///DIR or DIR (default: those of the platforms)
	lock *string, // lockfiles whose specs stay, by commas: paths, globs, or folders that hold some (default: those of the definitions)
	image *string, // repositories of images whose specs stay, by commas: the lockfile of every published tag (default: those of the definitions)
	ignoreUnlabelled *bool, // --ignore-unlabelled: pass over images that have no lockfile attached
	ignoreUnlocked *bool, // --ignore-unlocked: pass over definitions that have neither a lockfile nor a published image
	noRoots *bool, // --no-roots: there are no lockfiles: go by age alone
	repo *string, // package repositories, by commas: folders, or git URLs with #REF for a branch; what none has is stale
	buildDeps *string, // --build-deps: keep (default) or drop what only builds need
	maxAge *string, // --max-age: younger specs stay; 0: no such rule (default: max_age, else 90d)
	grace *string, // whatever is younger stays (default: grace, else 48h)
	wait *string, // time from condemning to deleting; 0: delete at once (default: wait, else 6d)
	evenIfWritten *bool, // --even-if-written: with --wait=0: though the mirror was written less than an hour ago
	settle *string, // time from the change of the index to the first deletion (default: 10m, as long as clients keep an index)
	usedSince *string, // --used-since: what --access-log has as fetched less long ago stays, as 90d
	accessLog *string, // --access-log: for --used-since: a file with a hash or key and a date on each line
	keepLast *int, // --keep-last: newest versions of each package that stay; 0: no such rule (default: keep_last, else 2)
	targetSize *string, // --target-size: condemn no more than brings the mirror down to this, and first what is cheap to build again, as 500GB; 0: no such rule
	halfLife *string, // --half-life: with a target size: what is older by this is half as likely to be needed again, as 60d (default: age says nothing)
	maxFraction *float64, // --max-fraction: condemn more than is usual: this much of the specs or bytes (default: max_fraction, else 0.5)
	plan *string, // apply this plan, as far as a new one says the same
	planMaxAge *string, // --plan-max-age: refuse an older plan, as 24h
	inventory *string, // manifest.json of an S3 Inventory (s3:// or a path) to condemn by, instead of listing the bucket
	batchManifest *string, // --batch-manifest: delete nothing: write manifests for S3 Batch Operations, FILE, FILE-2 and FILE-3, one to be done after the other
	metrics *string, // write what became of it to this file, as Prometheus reads it
	dryRun *bool, // --dry-run: show the plan only
	json *bool, // for machines
	yes *bool, // do not ask
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	flags := ruleFlags{noRoots: noRoots, maxAge: maxAge, grace: grace, wait: wait, usedSince: usedSince, accessLog: accessLog, keepLast: keepLast,
		maxFraction: maxFraction, targetSize: targetSize, halfLife: halfLife, evenIfWritten: evenIfWritten, planMaxAge: planMaxAge, buildDeps: buildDeps}
	if flags.packages, err = readPackagesFlag(ctx, repo); err != nil {
		return err
	}
	run := janitorRun{app: a, dry: or(dryRun, false), yes: or(yes, false), json: or(json, false), planFile: or(plan, ""),
		inventory: or(inventory, ""), batch: or(batchManifest, ""), rules: flags, metrics: newJanitorMetrics(metrics, "prune"),
		roots: a.rootSource(lock, image, or(ignoreUnlabelled, false), or(ignoreUnlocked, false), or(noRoots, false))}
	if run.settle, err = durationOr(nil, "--settle", settle, Duration(janitor.SettleDefault)); err != nil {
		return err
	}
	if _, err := run.policy(buildcache.Location{}); err != nil {
		return err
	}
	if err := run.oneBatch(mirror); err != nil {
		return err
	}
	return run.each(ctx, mirror, func(m *mirrorStore) error { return run.prune(ctx, m) })
}

// Why says what keeps a spec in the build cache, from the lockfile to the spec,
// or since when and why it is condemned, and when it goes. WHAT is a hash, the
// beginning of one, a name, or name@version.
func (Janitor) Why(ctx context.Context, what string,
	mirror *string, // build caches, by commas (default: those of the platforms)
	lock *string, // lockfiles whose specs stay, by commas
	image *string, // repositories of images whose specs stay, by commas
	ignoreUnlabelled *bool, // --ignore-unlabelled: pass over images that have no lockfile attached
	ignoreUnlocked *bool, // --ignore-unlocked: pass over definitions that have neither a lockfile nor a published image
	noRoots *bool, // --no-roots: there are no lockfiles: go by age alone
	maxAge *string, // --max-age: younger specs stay (default: max_age, else 90d)
	grace *string, // whatever is younger stays (default: grace, else 48h)
	wait *string, // time from condemning to deleting (default: wait, else 6d)
	usedSince *string, // --used-since: what --access-log has as fetched less long ago stays, as 90d
	accessLog *string, // --access-log: for --used-since
	keepLast *int, // --keep-last: newest versions of each package that stay (default: keep_last, else 2)
	targetSize *string, // --target-size: condemn no more than brings the mirror down to this, as 500GB
	halfLife *string, // --half-life: with a target size: what is older by this is half as likely to be needed again, as 60d
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	run := janitorRun{app: a, json: or(json, false),
		rules: ruleFlags{noRoots: noRoots, maxAge: maxAge, grace: grace, wait: wait, usedSince: usedSince, accessLog: accessLog, keepLast: keepLast, targetSize: targetSize, halfLife: halfLife},
		roots: a.rootSource(lock, image, or(ignoreUnlabelled, false), or(ignoreUnlocked, false), or(noRoots, false))}
	if _, err := run.policy(buildcache.Location{}); err != nil {
		return err
	}
	return run.each(ctx, mirror, func(m *mirrorStore) error {
		return run.why(ctx, m, rootset.Pin(what))
	})
}

// Purge removes specs on purpose and at once, whatever their age, with their
// index entries. SPEC is a hash, the beginning of one, a name, or name@version.
func (Janitor) Purge(ctx context.Context, spec string,
	mirror *string, // build caches, by commas (default: those of the platforms)
	match *bool, // SPEC is any part of name@version/hash
	dependents *bool, // remove what needs it at run time, too
	evenIfNeeded *bool, // --even-if-needed: though a lockfile, a published image, a pin or a root set needs it
	lock *string, // lockfiles that must not need it, by commas (default: those of the definitions)
	image *string, // repositories of images that must not need it, by commas (default: those of the definitions)
	ignoreUnlabelled *bool, // --ignore-unlabelled: pass over images that have no lockfile attached
	ignoreUnlocked *bool, // --ignore-unlocked: pass over definitions that have neither a lockfile nor a published image
	dryRun *bool, // --dry-run: show the plan only
	json *bool, // for machines
	yes *bool, // do not ask
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	purge := janitor.Purge{Pin: rootset.Pin(spec), Substring: or(match, false), Dependents: or(dependents, false), EvenIfNeeded: or(evenIfNeeded, false)}
	run := janitorRun{app: a, dry: or(dryRun, false), yes: or(yes, false), json: or(json, false), settle: -1,
		roots: a.rootSource(lock, image, or(ignoreUnlabelled, false), or(ignoreUnlocked, false), purge.EvenIfNeeded && lock == nil && image == nil)}
	return run.each(ctx, mirror, func(m *mirrorStore) error {
		return run.purge(ctx, m, purge)
	})
}

// A sparedMirror is what janitor:spare says of a mirror to machines.
type sparedMirror struct {
	Mirror  string      `json:"mirror"`
	RootSet rootset.Set `json:"root_set"` // that keeps them
}

// Spare saves specs for 90 days, with all that they need, also those that are
// condemned. WHAT is a hash, the beginning of one, a name, or name@version.
func (Janitor) Spare(ctx context.Context, what string,
	mirror *string, // build caches, by commas (default: those of the platforms)
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	run := janitorRun{app: a, json: or(json, false)}
	return run.each(ctx, mirror, func(m *mirrorStore) error {
		j, err := run.janitor(m)
		if err != nil {
			return err
		}
		set, err := j.Spare(ctx, []rootset.Pin{rootset.Pin(what)})
		if err != nil {
			return err
		}
		a.Log.Info("spared", "specs", set.Specs(), "until", set.Ends().Format("2006-01-02"), "set", set.Name)
		return run.show(sparedMirror{m.url, set})
	})
}

// Reindex writes the index of a build cache anew from its spec files, as spack
// buildcache update-index does.
func (Janitor) Reindex(ctx context.Context,
	mirror *string, // build caches, by commas (default: those of the platforms)
	dryRun *bool, // --dry-run: say only how many specs it would have
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	run := janitorRun{app: a}
	return run.each(ctx, mirror, func(m *mirrorStore) error {
		j, err := run.janitor(m)
		if err != nil {
			return err
		}
		specs, err := j.Reindex(ctx, or(dryRun, false))
		for _, key := range sortedKeys(specs) {
			err = errors.Join(err, a.Print("%s: %d specs", key, specs[key]))
		}
		return err
	})
}

// Verify checks a build cache: the indexes against what is there, both ways,
// and that what specs need at run time is there. --deep reads every byte.
func (Janitor) Verify(ctx context.Context,
	mirror *string, // build caches, by commas (default: those of the platforms)
	deep *bool, // check checksums, too, and signatures if there is a key
	key *string, // with --deep: public key files, by commas: each package must be signed by one of them
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	if key != nil && !or(deep, false) {
		return wrongCall("--key is for --deep, which is not given")
	}
	run := janitorRun{app: a, json: or(json, false)}
	return run.each(ctx, mirror, func(m *mirrorStore) error {
		return run.verify(ctx, m, or(deep, false), or(key, a.env.PublicKey))
	})
}
