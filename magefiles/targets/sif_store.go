package targets

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache/file"
	"github.com/openbraininstitute/spacktainers/buildcache/s3"
	"github.com/openbraininstitute/spacktainers/internal/definition"
	"github.com/openbraininstitute/spacktainers/internal/sif"
	"github.com/openbraininstitute/spacktainers/internal/sifstore"
	"github.com/openbraininstitute/spacktainers/internal/ui"
)

// openSIFs opens where SIFs go: sifs in the configuration, or what is given.
func (a *app) openSIFs(ctx context.Context, url *string) (sifstore.Store, error) {
	where := or(url, a.config.SIFs)
	if where == "" {
		return nil, fmt.Errorf("where do SIFs go? name a bucket or folder as sifs in %s, or give --sifs=URL", ConfigFile)
	}
	at, err := a.location(where)
	if err != nil {
		return nil, fmt.Errorf("sifs: %w", err)
	}
	if !at.IsBucket() {
		return file.Open(at.Folder)
	}
	opts := s3.Options{Endpoint: at.Endpoint, PathStyle: a.env.S3PathStyle || at.Endpoint != ""}
	opts.KeysFrom = "AWS_INFRASTRUCTURE_ACCESS_KEY_ID"
	if a.env.AssetsKeyID != "" {
		opts.Credentials = s3.Keys(a.env.AssetsKeyID, a.env.AssetsKeySecret, a.env.AssetsToken)
	}
	return s3.Open(ctx, at.String(), opts)
}

// sifKeys are the keys of the lists of SIFs, NAME.json: trusted is a file of
// public ones (default: sif_key of the configuration), sign one with a private
// key; both may be empty.
func (a *app) sifKeys(trusted, sign *string) (keys sifstore.Keys, err error) {
	if path := or(trusted, a.config.SIFKey); path != "" {
		if keys.Trusted, err = sifstore.ReadTrusted(path); err != nil {
			return keys, err
		}
	}
	if sign != nil {
		keys.Signer, err = sif.ReadSigner(*sign, a.env.SIFPassphrase)
	}
	return keys, err
}

// A sentSIF is a line of what sif:upload and sif:install show.
type sentSIF struct {
	File     string `json:"file"`
	Platform string `json:"platform"`
	Digest   string `json:"digest"`
	File256  string `json:"file_digest"` // of the file
	Size     int64  `json:"bytes"`
	State    string `json:"state"`
}

func (a *app) showSent(sent []sentSIF, asJSON bool) error {
	if asJSON {
		return a.JSON(sent)
	}
	var rows [][]string
	for _, s := range sent {
		rows = append(rows, []string{s.File, s.Platform, ui.Size(s.Size), s.State, s.File256})
	}
	return a.Table([]string{"file", "platform", "size", "state", "checksum"}, rows)
}

func newSent(r sif.Record, state string) sentSIF {
	return sentSIF{r.File, r.Platform, r.Digest, "sha256:" + r.SHA256, r.Size, state}
}

// Upload sends the SIFs of a container from out/sif to where SIFs go, with
// what they were made from. What is there already is not sent again; what is
// new is read back and checked before anything gives way to it.
func (Sif) Upload(ctx context.Context, name string,
	platform *string, // linux/amd64 or linux/arm64 (default: all that there are)
	branch *string, // whose SIFs (default: the checkout's)
	sifs *string, // bucket or folder (default: the configured one)
	sign *string, // sign NAME.json with the PGP private key in this file; SIF_KEY_PASSPHRASE opens it
	adoptUnsigned *bool, // --adopt-unsigned: sign also a NAME.json that has no signature yet: look at it before
	dryRun *bool, // --dry-run: say what would be sent, and send nothing
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	defs, err := a.findAll(name, platform)
	if err != nil {
		return err
	}
	from, err := a.sifBranch(ctx, branch)
	if err != nil {
		return err
	}
	keys, err := a.sifKeys(nil, sign)
	if err != nil {
		return err
	}
	keys.Adopt = or(adoptUnsigned, false)
	sent, err := a.upload(ctx, sifs, keys, defs, from, or(dryRun, false))
	if err != nil {
		return err
	}
	return a.showSent(sent, or(json, false))
}

func (a *app) upload(ctx context.Context, url *string, keys sifstore.Keys, defs []definition.Definition, branch string, dryRun bool) ([]sentSIF, error) {
	store, err := a.openSIFs(ctx, url)
	if err != nil {
		return nil, err
	}
	progress := a.Progress(ctx)
	defer progress.Close()
	u := sifstore.Uploader{From: sifs, To: store, Keys: keys, Now: time.Now, Progress: sifProgress(progress, "sent")}
	sent := []sentSIF{}
	for _, d := range defs {
		record, err := sifRecord(d, branch)
		if err != nil {
			return nil, err
		}
		plan, err := u.Plan(ctx, record)
		if err != nil {
			return nil, fmt.Errorf("upload %s: %w", record.File, err)
		}
		if !dryRun {
			if err := u.Apply(ctx, plan); err != nil {
				return nil, fmt.Errorf("upload %s: %w", record.File, err)
			}
		}
		sent = append(sent, newSent(record, wouldBe(plan.State, dryRun)))
	}
	return sent, nil
}

func wouldBe(state string, dryRun bool) string {
	if dryRun && state != sifstore.StateSame {
		return "would be " + state
	}
	return state
}

// sifRecord finds the SIF that was built of a definition on a branch.
func sifRecord(d definition.Definition, branch string) (sif.Record, error) {
	records, err := sifs.List()
	if err != nil {
		return sif.Record{}, err
	}
	for _, r := range records {
		if r.Kind == sif.KindImage || r.Name != d.Name || r.Platform != d.Platform || r.Branch != branch && d.Kind != definition.Apptainer {
			continue
		}
		version := r.Version
		if d.Kind == definition.Apptainer {
			version, err = d.ImageVersion()
		} else if built, bad := images.Read(d.Name, d.Platform); bad == nil {
			version = built.Version
		}
		if err != nil || version == r.Version {
			return r, err
		}
	}
	return sif.Record{}, fmt.Errorf("there is no SIF of %s for %s: mage sif:build %s --platform=%[2]s", d.Name, d.Platform, d.Name)
}

// sifProgress shows how far files are, each until the next one begins.
func sifProgress(p *ui.Progress, verb string) func(sif.Record) func(int64) {
	var mu sync.Mutex
	var task *ui.Task
	return func(r sif.Record) func(int64) {
		mu.Lock()
		defer mu.Unlock()
		if task != nil {
			task.End()
		}
		task = p.Begin(r.File)
		current := task
		return func(total int64) { current.Count(verb, total, r.Size, ui.Bytes) }
	}
}

// Install mirrors what is uploaded onto a disk, such as a cluster's: only what
// has changed, checked, and without touching files that are in use. NAME.sif
// leads to the newest release.
func (Sif) Install(ctx context.Context, dir string,
	names *string, // containers, by commas (default: all)
	platform *string, // linux/amd64 or linux/arm64 (default: both)
	newest *bool, // only the newest release of each
	modules *string, // write environment modules below DIR/modules: lmod, or tcl for Environment Modules
	rehash *bool, // read also files that look the same
	sifs *string, // bucket or folder to install from (default: the configured one)
	key *string, // public PGP key that NAME.json must be signed with (default: sif_key of spacktainers.yaml)
	allowOlder *bool, // --allow-older: take a NAME.json that is older than what is installed
	dryRun *bool, // --dry-run: say what would be fetched, and fetch nothing
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	store, err := a.openSIFs(ctx, sifs)
	if err != nil {
		return err
	}
	keys, err := a.sifKeys(key, nil)
	if err != nil {
		return err
	}
	progress := a.Progress(ctx)
	defer progress.Close()
	in := sifstore.Installer{
		From: store, Keys: keys, Dir: dir, Newest: or(newest, false), Rehash: or(rehash, false), AllowOlder: or(allowOlder, false),
		Progress: sifProgress(progress, "fetched"),
	}
	if names != nil {
		in.Names = strings.Split(*names, ",")
	}
	if platform != nil {
		parsed, err := parsePlatform(*platform)
		if err != nil {
			return err
		}
		in.Platforms = []string{parsed.String()}
	}
	switch m := or(modules, ""); m {
	case "":
	case sifstore.ModulesLmod, sifstore.ModulesTcl:
		in.Modules = m
	default:
		return unknown("kind of modules", m, []string{sifstore.ModulesLmod, sifstore.ModulesTcl})
	}
	plan, err := in.Plan(ctx)
	if err != nil {
		return err
	}
	if !or(dryRun, false) {
		if err := in.Apply(ctx, plan); err != nil {
			return err
		}
	}
	progress.Close()
	if !or(dryRun, false) {
		next := "apptainer run " + filepath.Join(dir, "NAME.sif")
		if in.Modules != "" {
			next = "module use " + filepath.Join(dir, "modules")
		}
		a.Log.Info("installed", "in", dir, "files", len(plan.Files), "next", next)
	}
	sent := []sentSIF{}
	for _, f := range plan.Files {
		sent = append(sent, newSent(f.Record, wouldBe(f.State, or(dryRun, false))))
	}
	return a.showSent(sent, or(json, false))
}

// Clean removes the SIFs of branches that are gone and those that newer ones
// have superseded, from where SIFs go or from a folder that they were
// installed in.
func (Sif) Clean(ctx context.Context,
	dir *string, // a folder that sif:install has filled (default: where SIFs go)
	sifs *string, // bucket or folder (default: the configured one)
	sign *string, // sign NAME.json with the PGP private key in this file, where it is signed
	keepLast *int, // --keep-last: so many of each container, platform and branch stay (default: 1)
	keepFor *string, // --keep-for: how long a superseded one stays, such as 14d (default: 7d)
	branches *string, // file with the branches that exist, one a line (default: ask git)
	git *string, // repository to ask for its branches (default: origin)
	dryRun *bool, // --dry-run: say what would go, and remove nothing
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	r := sifstore.Retention{KeepLast: max(1, or(keepLast, 1)), Now: time.Now()}
	if r.KeepFor, err = parseDuration(or(keepFor, "7d")); err != nil {
		return callError{fmt.Errorf("--keep-for: %w", err)}
	}
	if dir != nil && sifs != nil {
		return wrongCall("give --dir or --sifs, not both")
	}
	var keys sifstore.Keys // lists in a folder that sif:install has filled are not signed
	if dir != nil {
		sifs = dir
	} else if keys, err = a.sifKeys(nil, sign); err != nil {
		return err
	}
	if r.Branches, err = liveBranches(ctx, or(branches, ""), or(git, "origin")); err != nil {
		return fmt.Errorf("which branches exist: %w", err)
	}
	store, err := a.openSIFs(ctx, sifs)
	if err != nil {
		return err
	}
	done := a.busy(ctx, "SIFs", "reading lists")
	plan, err := sifstore.NewCleaning(ctx, store, keys, r)
	done()
	if err != nil {
		return err
	}
	if !or(dryRun, false) {
		err = plan.Apply(ctx, store)
	}
	return errors.Join(err, a.showCleaning(plan, or(dryRun, false), or(json, false)))
}

func (a *app) showCleaning(plan sifstore.Cleaning, dryRun, asJSON bool) error {
	if asJSON {
		return a.JSON(append([]sifstore.CleanLine{}, plan.Lines...))
	}
	verb := "remove"
	if dryRun {
		verb = "would remove"
	}
	var rows [][]string
	var freed int64
	for _, line := range plan.Lines {
		what := "keep"
		if line.Remove {
			what = verb
			freed += line.Size
		}
		rows = append(rows, []string{what, line.File, ui.Size(line.Size), line.Date.UTC().Format(time.DateOnly), line.Reason})
	}
	if err := a.Table([]string{"", "file", "size", "date", "because"}, rows); err != nil {
		return err
	}
	a.Log.Info(verb, "size", ui.Size(freed))
	return nil
}
