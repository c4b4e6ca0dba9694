package targets

import (
	"cmp"
	"context"
	"runtime"
	"runtime/debug"
	"slices"
)

// modulePath is the path of this project's module.
const modulePath = "github.com/openbraininstitute/spacktainers"

// A buildVersion is what the program knows of what it was made from.
type buildVersion struct {
	Version  string `json:"version"`            // of the module; (devel) in a checkout
	Commit   string `json:"commit,omitempty"`   // of the checkout that it was compiled in, where git told it
	Modified bool   `json:"modified,omitempty"` // the checkout had changes that were not committed
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Version prints the version of the targets, the commit that they were compiled
// from, and that of Go.
func Version(ctx context.Context,
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	info, _ := debug.ReadBuildInfo()
	v := versionOf(info)
	if or(json, false) {
		return a.JSON(v)
	}
	commit := cmp.Or(v.Commit, "commit not known")
	if v.Modified {
		commit += ", with changes"
	}
	return a.Print("spacktainers %s (%s) %s %s", v.Version, commit, v.Go, v.Platform)
}

// versionOf reads what the Go command has written into the program. The targets are the main module
// in a checkout of this project, and a dependency in a repository that imports them.
func versionOf(info *debug.BuildInfo) buildVersion {
	v := buildVersion{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info == nil {
		return v
	}
	if info.Main.Path != modulePath {
		if i := slices.IndexFunc(info.Deps, func(d *debug.Module) bool { return d.Path == modulePath }); i >= 0 {
			v.Version = info.Deps[i].Version
		}
		return v // the commit is that of the other repository
	}
	v.Version = cmp.Or(info.Main.Version, v.Version)
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}
