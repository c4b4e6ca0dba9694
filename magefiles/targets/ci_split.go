package targets

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/pipeline"
)

// maxPipelineFile is how long a file of a pipeline may be, in bytes.
const maxPipelineFile = 64 << 20

// Split merges pipelines that `spack ci generate` has written for several
// environments, FILES by commas, and splits them by stages where GitLab's limits
// ask for it. A package that several of them build is built once, as early as what
// it needs is there.
func (Ci) Split(ctx context.Context, files string,
	out *string, // folder below the repository (default: out/ci)
	mirror *string, // build cache whose packages need not be built (default: all of the pipelines are)
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
	texts := map[string][]byte{}
	for _, path := range list(files) {
		if texts[path], err = readBounded(path, maxPipelineFile); err != nil {
			return err
		}
	}
	var has func(buildcache.Hash) bool
	if mirror != nil {
		if has, err = a.mirrored(ctx, *mirror, true); err != nil {
			return err
		}
	}
	merged, err := pipeline.MergeSpackCI(texts, has)
	if err != nil {
		return err
	}
	limits := a.config.gitlab(dir, false).Limits
	written, err := merged.Files(dir, limits)
	if err != nil {
		return err
	}
	if err := writePipelines(dir, written); err != nil {
		return err
	}
	a.Log.Info("merged", "pipelines", len(texts), "builds", merged.Builds(), "in-several", merged.Shared, "in-the-build-cache", merged.Cached)
	return a.showPipelines(dir, written, or(json, false))
}

// readBounded reads a file that has no more than so many bytes.
func readBounded(path string, most int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%s is longer than %d bytes", path, most)
	}
	return text, err
}

// pipelinesFolder is where the files of pipelines are written: jobs hand it on.
func pipelinesFolder(out *string) (string, error) {
	dir := filepath.ToSlash(filepath.Clean(or(out, pipelinesDir)))
	if !filepath.IsLocal(dir) || dir == "." || !folder.MatchString(dir) {
		return "", wrongCall("--out=%s: want a folder below the repository, of plain letters: jobs hand it on", dir)
	}
	return dir, nil
}
