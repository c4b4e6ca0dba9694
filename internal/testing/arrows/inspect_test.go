package arrows

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestARuleNamesTheFileThatBreaksIt(t *testing.T) {
	ours := func(room string) string { return `import _ "` + module + "/" + room + `"` }
	cases := []struct {
		name, file, source string
		want               string // empty: allowed
	}{
		{"an arrow of the design", "janitor/plan.go", "package janitor\n" + ours("buildcache"), ""},
		{"an arrow backwards", "buildcache/index.go", "package buildcache\n" + ours("janitor"), "buildcache/index.go imports " + module + "/janitor: no arrow"},
		{"a store from the janitor", "janitor/plan.go", "package janitor\n" + ours("buildcache/s3"), "no arrow"},
		{"targets wire everything", "magefiles/targets/a.go", "package targets\n" + ours("internal/ui"), ""},
		{"ui from below", "internal/podman/a.go", "package build\n" + ours("internal/ui"), "no arrow"},
		{"mage imports targets", "magefiles/magefile.go", "//go:build mage\n\npackage main\n" + ours("magefiles/targets"), ""},
		{"somebody imports targets", "internal/podman/a.go", "package build\n" + ours("magefiles/targets"), "nothing imports the targets"},
		{"a test imports targets", "internal/podman/a_test.go", "package build\n" + ours("magefiles/targets"), "nothing imports the targets"},
		{"the targets' own test", "magefiles/targets/a_test.go", "package targets_test\n" + ours("magefiles/targets"), ""},
		{"an unknown room imports one", "attic/a.go", "package attic\n" + ours("buildcache"), "no arrow leads there from attic"},
		{"an unknown room by itself", "attic/a.go", "package attic\nimport _ \"fmt\"", ""},
		{"a name that only starts alike", "magefiles/targets/a.go", "package targets\n" + ours("buildcachet"), "no arrow"},
		{"a test helper from a test", "janitor/a_test.go", "package janitor\n" + ours("internal/testing/tooltest"), ""},
		{"a test helper from the program", "magefiles/targets/a.go", "package targets\n" + ours("internal/testing/tooltest"), "only tests may"},

		{"os/exec in command", "internal/command/a.go", "package command\nimport _ \"os/exec\"", ""},
		{"os/exec elsewhere", "internal/sif/a.go", "package sif\nimport _ \"os/exec\"", "a.go imports os/exec: programs are run by"},
		{"os/exec in a test", "internal/sif/a_test.go", "package sif\nimport _ \"os/exec\"", ""},
		{"os/exec behind a build tag", "janitor/a.go", "//go:build windows\n\npackage janitor\nimport _ \"os/exec\"", "imports os/exec"},
		{"mage in the janitor", "janitor/a.go", "package janitor\nimport _ \"github.com/magefile/mage/mg\"", "knows no mage"},
		{"aws in the janitor", "janitor/a.go", "package janitor\nimport _ \"github.com/aws/aws-sdk-go-v2/aws\"", "knows stores only"},
		{"aws in its store", "buildcache/s3/a.go", "package s3\nimport _ \"github.com/aws/aws-sdk-go-v2/aws\"", ""},

		{"the environment in config.go", "magefiles/targets/config.go", "package targets\nimport \"os\"\nvar a = os.Getenv(\"A\")", ""},
		{"the environment elsewhere", "magefiles/targets/flags.go", "package targets\nimport \"os\"\nvar a = os.Getenv(\"A\")", "magefiles/targets/flags.go reads an environment variable"},
		{"under another name", "janitor/a.go", "package janitor\nimport sys \"os\"\nvar a, b = sys.LookupEnv(\"A\")", "reads an environment variable"},
		{"as a value", "janitor/a.go", "package janitor\nimport \"os\"\nvar get = os.Getenv", "reads an environment variable"},
		{"in a test", "janitor/a_test.go", "package janitor\nimport \"os\"\nvar a = os.Getenv(\"A\")", ""},
		{"another's Getenv", "janitor/a.go", "package janitor\nvar os struct{ Getenv func() }\nvar a = os.Getenv", ""},

		{"a Go file in the root", "main.go", "package main", "the root holds no Go file but magefile.go"},
		{"the magefile in the root", "magefile.go", "//go:build ignore\n\npackage main", ""},
		{"a vague name", "janitor/util/a.go", "package util", "package util says nothing"},
		{"a vague name in testdata", "testdata/util/a.go", "package util", ""},
		{"what we built", "out/util/a.go", "package util", ""},
		{"what mage compiles", "magefiles/mage_output_file.go", "package main\nimport _ \"os/exec\"", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			breaches, err := inspect(fstest.MapFS{c.file: {Data: []byte(c.source)}})
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(breaches, "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) || len(breaches) > 1 {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestArrowsLeadToRoomsOfTheTable(t *testing.T) {
	for from, list := range arrows {
		for _, to := range list {
			dir, all := strings.CutSuffix(to, "/...")
			if _, known := arrows[dir]; !known && !all {
				t.Errorf("%s → %s: no such room", from, to)
			}
		}
	}
}
