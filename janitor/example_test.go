package janitor_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache/file"
	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
)

// What a run would condemn of a build cache in a folder, of which three
// environments are still needed. Plan writes nothing; Apply would.
func Example() {
	store, err := file.Open("../testdata/spack/v3-unsigned/cache")
	if err != nil {
		fmt.Println(err)
		return
	}
	j := janitor.Janitor{
		Store:  store,
		Policy: janitor.Policy{Wait: 6 * 24 * time.Hour, MaxFraction: 0.9},
		Roots: func(context.Context) (roots rootset.Roots, err error) {
			for _, name := range []string{"env-a", "env-b", "env-hello"} {
				path := "../testdata/spack/v3-unsigned/locks/" + name + ".spack.lock"
				lock, err := rootset.ReadLock(name, func() (io.ReadCloser, error) { return os.Open(path) })
				if err != nil {
					return roots, err
				}
				roots.Locks = append(roots.Locks, lock)
			}
			return roots, nil
		},
	}
	plan, err := j.Plan(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	for c := range plan.Specs() {
		if c.Name == "qs-block" { // one package of several
			fmt.Println(c.State, c.Name, c.Version+":", c.Reason)
		}
	}
	// Output:
	// condemn qs-block 1.0: unneeded
	// condemn qs-block 1.1: unneeded
	// condemn qs-block 2.0: unneeded
}
