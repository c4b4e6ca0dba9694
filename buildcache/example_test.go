package buildcache_test

import (
	"context"
	"fmt"
	"io"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/file"
)

// The packages that an environment needs to run, from a build cache in a folder.
func Example() {
	ctx := context.Background()
	store, err := file.Open("../testdata/spack/v3-unsigned/cache")
	if err != nil {
		fmt.Println(err)
		return
	}
	cache, err := buildcache.Open(ctx, store, nil) // nil: signatures are not asked for
	if err != nil {
		fmt.Println(err)
		return
	}
	lock, err := buildcache.ReadLockfile("../testdata/spack/v3-unsigned/locks/env-hello.spack.lock")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, spec := range lock.Closure([]buildcache.Hash{lock.Roots[0].Hash}, buildcache.Runtime) {
		if spec.External {
			continue
		}
		p, err := cache.Find(ctx, spec)
		if err != nil {
			fmt.Println(err)
			return
		}
		tarball, err := cache.Open(ctx, p)
		if err != nil {
			fmt.Println(err)
			return
		}
		n, err := io.Copy(io.Discard, tarball) // its checksum is verified on the way
		tarball.Close()
		fmt.Println(spec.Name, n == p.Size, err)
	}
	// Output:
	// gcc-runtime true <nil>
	// qs-shlib true <nil>
	// qs-config true <nil>
	// qs-block true <nil>
	// qs-hash true <nil>
	// qs-tls true <nil>
	// hello-spack true <nil>
}
