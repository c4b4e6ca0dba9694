package targets

import (
	"slices"
	"strings"
	"testing"
)

var example = map[string]signature{
	"containers:build": {args: []string{"NAME"}, flags: map[string]bool{"platform": false, "lock": false, "json": true, "dry-run": true}},
	"containers:check": {flags: map[string]bool{"name": false, "json": true}},
	"janitor:prune":    {flags: map[string]bool{"max-age": false, "dry-run": true}},
	"doctor":           {flags: map[string]bool{"json": true}},
	"sif:job":          {args: []string{"NAME"}, flags: map[string]bool{"site": false, "arguments": false}},
}

func TestRewriteGivesMageTheFlagsItUnderstands(t *testing.T) {
	for call, want := range map[string]string{
		"":                                      "",
		"-l":                                    "-l",
		"-v -t 5m doctor":                       "-v -t 5m doctor",
		"-t 5m":                                 "-t 5m",
		"doctor --json":                         "doctor -json=true",
		"doctor --json=false":                   "doctor -json=false",
		"doctor -json":                          "doctor -json=true",
		"janitor:prune":                         "janitor:prune",
		"janitor:prune --dry-run --max-age=90d": "janitor:prune -dryrun=true -maxage=90d",
		"janitor:prune --max-age 90d --dry-run": "janitor:prune -maxage=90d -dryrun=true",
		"janitor:prune -dryRun -maxAge=1d":      "janitor:prune -dryrun=true -maxage=1d",
		"containers:build x --platform linux/arm64":           "containers:build x -platform=linux/arm64",
		"containers:build --platform=linux/arm64 x":           "containers:build x -platform=linux/arm64",
		"containers:build --platform linux/arm64 --dry-run x": "containers:build x -platform=linux/arm64 -dryrun=true",
		"containers:build x --lock=a=b":                       "containers:build x -lock=a=b",
		"containers:bu-ild x":                                 "containers:build x",
		"Containers:Build x":                                  "Containers:Build x",
		"containers:build x doctor --json":                    "containers:build x doctor -json=true",
		"containers:build doctor doctor":                      "containers:build doctor doctor",
		"containers:check":                                    "containers:check",
		"containers:check x --json":                           "containers:check -name=x -json=true",
		"containers:check doctor":                             "containers:check doctor",
		"containers:check x doctor":                           "containers:check -name=x doctor",
		"containers:build --help":                             "-h containers:build",
		"containers:build x -h":                               "-h containers:build",
		"-h containers:build":                                 "-h containers:build",
		"-help containers:bu-ild":                             "-help containers:build",
		"-l doctor":                                           "-l doctor",
		"doctor --json=1":                                     "doctor -json=1",
		"sif:job x --site=a -- --config=b doctor":             `sif:job x -site=a -arguments=["--config=b","doctor"]`,
		"sif:job x --":                                        "sif:job x -arguments=[]",
	} {
		got, err := rewrite(strings.Fields(call), example)
		if err != nil {
			t.Errorf("%s: %v", call, err)
		} else if strings.Join(got, " ") != want {
			t.Errorf("%s: got %q, want %q", call, got, want)
		}
	}
}

func TestRewriteRefusesAWrongCall(t *testing.T) {
	for call, want := range map[string]string{
		"docter":                               `unknown target "docter": did you mean "doctor"?`,
		"doctor --jsn":                         `unknown flag of doctor "--jsn": did you mean "--json"?`,
		"janitor:prune --dry-rum":              `unknown flag of janitor:prune "--dry-rum": did you mean "--dry-run"?`,
		"janitor:prune --max-age":              `--max-age of janitor:prune needs a value: --max-age=VALUE`,
		"janitor:prune --max-age --json":       `--max-age of janitor:prune needs a value: --max-age=VALUE`,
		"containers:build":                     `containers:build needs NAME: mage containers:build NAME`,
		"containers:build --json":              `containers:build needs NAME: mage containers:build NAME`,
		"doctor extra":                         `unknown target "extra": known are containers:build, containers:check, doctor, janitor:prune, sif:job`,
		"containers:build x --lock=1 --lock=2": `--lock is given twice to containers:build: separate the values of a list by commas`,
		"containers:build x --lock=":           `--lock of containers:build is empty: give a value or leave the flag out`,
		"containers:check --name= --json":      `--name of containers:check is empty: give a value or leave the flag out`,
		"doctor --json=maybe":                  `--json of doctor is "maybe": it is true or false`,
		"doctor --json=":                       `--json of doctor is "": it is true or false`,
		"doctor --json true":                   `--json of doctor takes no value behind a space: --json or --json=true`,
		"containers:check --json false":        `--json of containers:check takes no value behind a space: --json or --json=false`,
		"containers:build -- x":                `-- of containers:build ends no flags: leave it out`,
		"doctor -t 5m":                         `-t is an option of mage's own, which come before the target: mage -t 5m doctor`,
		"doctor -v":                            `-v is an option of mage's own, which come before the target: mage -v doctor`,
	} {
		got, err := rewrite(strings.Fields(call), example)
		if err == nil {
			t.Errorf("%s: got %q, want an error", call, got)
		} else if err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", call, err, want)
		}
	}
}

func TestRewriteRefusesAnEmptyValueBehindASpace(t *testing.T) {
	got, err := rewrite([]string{"containers:build", "x", "--lock", ""}, example)
	if err == nil || !strings.Contains(err.Error(), "--lock of containers:build is empty") {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestSignaturesAreThoseOfTheTargets(t *testing.T) {
	found := signatures()
	build, ok := found["containers:build"]
	if !ok || !slices.Equal(build.args, []string{"NAME"}) {
		t.Errorf("containers:build takes %+v", build)
	}
	if isSwitch, ok := build.flags["json"]; !ok || !isSwitch {
		t.Errorf("--json of containers:build is no switch: %+v", build)
	}
	if isSwitch, ok := build.flags["mirror"]; !ok || isSwitch {
		t.Errorf("--mirror of containers:build takes no value: %+v", build)
	}
	if _, ok := found["quickstart"]; !ok {
		t.Error("a target without namespace is missing")
	}
	for name, sig := range found {
		if strings.ToLower(name) != name {
			t.Errorf("%s is not in lower case", name)
		}
		for flag := range sig.flags {
			if strings.ToLower(flag) != flag {
				t.Errorf("%s: flag %s is not in kebab case", name, flag)
			}
		}
	}
}
