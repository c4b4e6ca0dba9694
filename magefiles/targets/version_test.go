package targets

import (
	"runtime/debug"
	"testing"
)

func TestTheVersionIsThatOfThisModule(t *testing.T) {
	revision := []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}}
	for name, c := range map[string]struct {
		info *debug.BuildInfo
		want buildVersion
	}{
		"nothing known": {nil, buildVersion{Version: "(devel)"}},
		"a checkout": {
			&debug.BuildInfo{Main: debug.Module{Path: modulePath, Version: "(devel)"}, Settings: revision},
			buildVersion{Version: "(devel)", Commit: "abc", Modified: true},
		},
		"another repository": {
			&debug.BuildInfo{Main: debug.Module{Path: "example.org/site"}, Deps: []*debug.Module{{Path: modulePath, Version: "v1.2.3"}}, Settings: revision},
			buildVersion{Version: "v1.2.3"},
		},
	} {
		got := versionOf(c.info)
		got.Go, got.Platform = "", ""
		if got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}
