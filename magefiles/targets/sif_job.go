package targets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/definition"
	"github.com/openbraininstitute/spacktainers/internal/sif"
	"github.com/openbraininstitute/spacktainers/internal/slurm"
	"github.com/openbraininstitute/spacktainers/sites"
)

// sitesDir holds a file for each site that jobs are written for. What is not there is looked for
// among those of the program.
var sitesDir = filepath.Join(root, "sites")

// Job writes a batch script that runs a container on a cluster with Slurm.
// Where Python packages lie is looked up in the image itself.
func (Sif) Job(ctx context.Context, name string,
	site *string, // jed, eiger, generic or another file of sites, or the path of one, FILE.yaml (default: generic)
	platform *string, // linux/amd64 or linux/arm64 (default: linux/amd64 where it is defined for that)
	image *string, // the SIF, or the reference for sarus (default: what sif:install leaves, or the first registry)
	bind *string, // folders of the cluster that the program sees besides the site's, by commas
	arguments *string, // that the program always has: write them behind --, as they are
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	defs, err := a.find(name, platform)
	if err != nil {
		return err
	}
	where, err := slurm.ReadSite(sitesDir, sites.Files, or(site, "generic"))
	if err != nil {
		return callError{err}
	}
	job, err := a.job(ctx, defs[0], where)
	if err != nil {
		return fmt.Errorf("job for %s: %w", defs[0].Name, err)
	}
	job.Image = or(image, job.Image)
	if bind != nil {
		job.Binds = strings.Split(*bind, ",")
	}
	if arguments != nil {
		if err := json.Unmarshal([]byte(*arguments), &job.Arguments); err != nil {
			return wrongCall("arguments of the program stand behind --: sif:job %s -- ARGUMENT ...", name)
		}
	}
	script, err := job.Script()
	if err != nil {
		return callError{err}
	}
	return a.Text(script)
}

func (a *app) job(ctx context.Context, d definition.Definition, site slurm.Site) (slurm.Job, error) {
	job := slurm.Job{Container: d.Name, Platform: d.Platform, Site: site, Image: a.jobImage(d, site)}
	if d.Kind == definition.Apptainer {
		version, err := d.ImageVersion()
		job.Version = version
		return job, err
	}
	record, err := images.Read(d.Name, d.Platform)
	if errors.Is(err, fs.ErrNotExist) {
		return job, fmt.Errorf("there is no image to look into: mage containers:build %s --platform=%s", d.Name, d.Platform)
	}
	if err != nil {
		return job, err
	}
	job.Version = record.Version
	built, err := images.Open(record)
	if err != nil {
		return job, err
	}
	var packages []string
	for _, spec := range d.Specs {
		packages = append(packages, definition.SpecName(spec))
	}
	contents, err := sif.Examine(ctx, built, d.Name, packages)
	job.Python, job.Program = contents.Python, contents.Program
	return job, err
}

// jobImage is where the image lies on the cluster.
func (a *app) jobImage(d definition.Definition, site slurm.Site) string {
	if site.Runtime == "sarus" {
		if len(a.config.Registries) == 0 {
			return d.Name
		}
		return a.config.Registries[0].Prefix + d.Name
	}
	file := d.Name
	if arch := strings.TrimPrefix(d.Platform, "linux/"); arch != "amd64" {
		file += "-" + arch
	}
	return path.Join(site.Images, file+sif.Ext)
}
