package podman

import (
	"reflect"
	"testing"
)

func TestAFailureTellsThatItIsOnlyOfSources(t *testing.T) {
	fetch := func(name string, lines ...string) FailedPackage {
		return FailedPackage{Name: name, Tail: append([]string{"FetchError: All fetchers failed for spack-stage-" + name}, lines...)}
	}
	tunnel := "URLError: <urlopen error Tunnel connection failed: 502 Bad Gateway>"
	a := fetch("a-1", "        https://mirror.example.org/_source-cache/archive/ef/eff.tar.gz: "+tunnel, "    https://example.com/v1.tar.gz: "+tunnel)
	b := FailedPackage{Name: "b-1", Tail: []string{"spack.error.FetchError: All fetchers failed", "    https://example.com/b.tar.gz: " + tunnel, "    [git] git@example.net:b.git commit=abc: ProcessError: Command exited with status 128:", "        'git' 'clone'"}}
	for name, c := range map[string]struct {
		failure Failure
		want    []Refusal
		ok      bool
	}{
		"two":     {Failure{Packages: []FailedPackage{a, b}}, []Refusal{{"mirror.example.org", tunnel}, {"example.com", tunnel}, {"example.net", "ProcessError: Command exited with status 128:"}}, true},
		"another": {Failure{Packages: []FailedPackage{a, {Name: "c", Tail: []string{"error: no member named x"}}}}, nil, false},
		"none":    {Failure{Reasons: []string{"no solution"}}, nil, false},
	} {
		if got, ok := c.failure.Unfetched(); ok != c.ok || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, %v, want %v", name, got, ok, c.want)
		}
	}
}
