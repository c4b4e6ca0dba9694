package targets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/openbraininstitute/spacktainers/internal/atomicfile"
	"github.com/openbraininstitute/spacktainers/internal/pipeline"
	"github.com/openbraininstitute/spacktainers/internal/ui"
)

// pipelinesDir is where the files of pipelines are written.
const pipelinesDir = "out/ci"

// planFile is what is planned, in Markdown, beside the pipelines: GitLab has no job summaries.
const planFile = "plan.md"

var folder = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_./-]*$`)

// Gitlab writes pipelines of GitLab CI that build what ci:plan shows: pipeline.yml,
// and the children that it starts where one file is not enough. Each job calls one
// target. Where nothing is to be built the pipeline does nothing. Beside them is
// plan.md; in a merge request it becomes a note where ci: gitlab: note_token is set.
func (Ci) Gitlab(ctx context.Context,
	out *string, // folder below the repository (default: out/ci)
	root *bool, // print the .gitlab-ci.yml that plans and starts pipeline.yml, and write nothing
	nested *bool, // for a child of a child, which starts no others
	name *string, // only for this container (default: all); may stand without its flag
	platform *string, // linux/amd64 or linux/arm64 (default: all)
	mirror *string, // build cache whose packages need not be built (default: the platform's, and where it is no release the branches')
	registry *string, // prefix to ask what is there (default: the first configured one; none: ask no registry)
	force *bool, // plan also for what is up to date
	release *bool, // at a shell: as for a release (CI: on the protected default branch)
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	dir, err := pipelinesFolder(out)
	if err != nil {
		return err
	}
	writer := a.config.gitlab(dir, or(nested, false))
	if or(root, false) {
		text, err := writer.Root()
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(text)
		return err
	}
	options := planOptions{name: name, platform: platform, mirror: mirror, registry: registry, release: release, force: or(force, false), diff: true}
	graph, err := a.plan(ctx, options)
	if err == nil {
		graph, writer.Mirror, err = a.pushable(ctx, graph, options)
	}
	if err != nil {
		return err
	}
	files, err := writer.Files(graph)
	if err != nil {
		return err
	}
	text := graph.Markdown()
	err = errors.Join(writePipelines(dir, files), atomicfile.Write(filepath.Join(dir, planFile), []byte(text), 0o644))
	if err != nil {
		return err
	}
	a.writeNote(ctx, text)
	a.Log.Info(graph.Summary(), "work", ui.Took(seconds(graph.Work)), "at-least", ui.Took(seconds(graph.Seconds)))
	return a.showPipelines(dir, files, or(json, false))
}

// pushable leaves out of a graph the packages that have no place to go to, and returns the mirror to
// which those of a platform go.
func (a *app) pushable(ctx context.Context, g *pipeline.Graph, o planOptions) (*pipeline.Graph, func(platform string) string, error) {
	isRelease, _, err := a.release(ctx, o.release)
	if err != nil {
		return nil, nil, err
	}
	mirror := func(platform string) string {
		if !isRelease {
			return a.config.Branches.Mirror
		}
		if p := a.config.Platforms[platform]; !p.Anonymous {
			return or(o.mirror, p.Mirror)
		}
		return ""
	}
	var none []string
	for _, platform := range g.Platforms() {
		if mirror(platform) == "" && len(g.Of(pipeline.Package, platform)) > 0 {
			none = append(none, platform)
			a.Log.Warn("packages have no jobs of their own: "+noPlaceForPackages(platform).Error(), "platform", platform)
		}
	}
	without, err := g.WithoutPackages(none...)
	return without, mirror, err
}

// writePipelines writes files into a folder, in which no earlier pipeline stays.
func writePipelines(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, "*.yml"))
	if err != nil {
		return err
	}
	for _, path := range old {
		text, err := os.ReadFile(path)
		if err == nil && bytes.HasPrefix(text, []byte(pipeline.Header)) && files[filepath.Base(path)] == nil {
			err = os.Remove(path)
		}
		if err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := atomicfile.Write(filepath.Join(dir, name), files[name], 0o644); err != nil {
			return err
		}
	}
	return nil
}

// A writtenPipeline is a file as ci:gitlab and ci:split show it.
type writtenPipeline struct {
	File  string `json:"file"`
	Jobs  int    `json:"jobs"`
	Bytes int    `json:"bytes"`
}

func (a *app) showPipelines(dir string, files map[string][]byte, asJSON bool) error {
	list := []writtenPipeline{}
	var rows [][]string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		w := writtenPipeline{dir + "/" + name, pipeline.CountJobs(files[name]), len(files[name])}
		list = append(list, w)
		rows = append(rows, []string{w.File, fmt.Sprint(w.Jobs), ui.Size(int64(w.Bytes))})
	}
	if asJSON {
		return a.JSON(list)
	}
	return a.Table([]string{"file", "jobs", "size"}, rows)
}
