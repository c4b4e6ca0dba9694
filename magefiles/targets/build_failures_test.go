package targets

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/podman"
	"github.com/openbraininstitute/spacktainers/internal/ui"
)

func TestSourcesThatCannotBeFetchedAreOneCause(t *testing.T) {
	unfetched := func(container, name string) podman.Result {
		return podman.Result{Name: container, Platform: "linux/amd64", Err: fmt.Errorf("build: %w", &podman.Failure{Log: "out/" + container + ".log", Packages: []podman.FailedPackage{{Name: name, Tail: []string{
			"FetchError: All fetchers failed for spack-stage-" + name,
			"    https://mirror.example.org/" + name + ".tar.gz: URLError: no such host",
			"    https://" + name + ".example.com/x.tar.gz: URLError: no such host"}}}})}
	}
	broken := podman.Result{Name: "broken", Platform: "linux/amd64", Err: errors.New("no solution")}
	want := `broken for linux/amd64: no solution
one for linux/amd64, two for linux/amd64, three for linux/amd64 and 1 more: sources cannot be fetched: of a, b, from mirror.example.org, a.example.com, b.example.com
	URLError: no such host
all of the first: out/one.log`
	err := buildErrors([]podman.Result{{Name: "built"}, unfetched("one", "a"), unfetched("two", "b"), broken, unfetched("three", "a"), unfetched("four", "a")})
	if got := ui.Failures(errors.Join(nil, err)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var failure *podman.Failure
	if !errors.As(err, &failure) {
		t.Error("the failures themselves are lost")
	}
	if got := buildErrors([]podman.Result{unfetched("one", "a")}).Error(); !strings.Contains(got, "package a failed\n\tFetchError") {
		t.Errorf("alone: %s", got)
	}
	if err := buildErrors([]podman.Result{{Name: "built"}}); err != nil {
		t.Error(err)
	}
}
