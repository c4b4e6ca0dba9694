package rebuild

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// shown is how many files of a package are named.
const shown = 5

// Packages compares the packages of an image with those of a build cache, file by file: what its
// lockfile's roots need at run time. What Spack writes anew as it installs, below .spack, is counted
// and does not make a difference; nor are the symbols of programs that the image was stripped of, times
// and owners one. A package that is not in the cache
// does, as it cannot be compared.
func Packages(ctx context.Context, img v1.Image, lock *buildcache.Lockfile, cache *buildcache.Cache) (Result, error) {
	result := Result{Engine: "podman", Differences: []string{}}
	var err error
	if result.Digest, err = img.Digest(); err != nil {
		return result, err
	}
	var roots []buildcache.Hash
	for _, r := range lock.Roots {
		roots = append(roots, r.Hash)
	}
	packages := slices.DeleteFunc(lock.Closure(roots, buildcache.Runtime), func(s *buildcache.Spec) bool { return s.External })
	wanted := map[buildcache.Hash]bool{}
	for _, s := range packages {
		wanted[s.Hash] = true
	}
	installed, err := imageFiles(ctx, img, wanted)
	if err != nil {
		return result, err
	}
	for _, s := range packages {
		cached, err := packageFiles(ctx, s, cache)
		switch {
		case errors.Is(err, buildcache.ErrNotInCache):
			result.Differences = append(result.Differences, s.String()+": the build cache has not got it, so that it cannot be compared")
			continue
		case s.BuildSpec != "":
			result.Differences = append(result.Differences, s.String()+": it is spliced, and relocated as it is installed, so that it cannot be compared")
			continue
		case err != nil:
			return result, fmt.Errorf("%s: %w", s, err)
		}
		result.Packages++
		where := installed.prefixes(s.Hash)
		switch len(where) {
		case 0:
			result.Differences = append(result.Differences, s.String()+": it is not in the image")
			continue
		case 1:
		default:
			result.Differences = append(result.Differences, s.String()+": it is in the image more than once: "+list(where))
			continue
		}
		differences, records, stripped := compare(installed[where[0]], cached)
		result.Records += records
		result.Stripped += stripped
		if len(differences) > 0 {
			result.Differences = append(result.Differences, s.String()+": "+list(differences))
		}
	}
	result.Same = len(result.Differences) == 0
	return result, nil
}

// packageFiles are those of a package in the cache, by their paths below its prefix.
func packageFiles(ctx context.Context, s *buildcache.Spec, cache *buildcache.Cache) (map[string]file, error) {
	p, err := cache.Find(ctx, s)
	if err != nil {
		return nil, err
	}
	body, err := cache.Open(ctx, p)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	plain, err := gzip.NewReader(body)
	if err != nil {
		return nil, err
	}
	hash := s.BinaryHash()
	found := files{}
	if err := found.read(ctx, plain, map[buildcache.Hash]bool{hash: true}); err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, body); err != nil { // its checksum is verified at the end
		return nil, err
	}
	where := found.prefixes(hash)
	if len(where) != 1 {
		return nil, fmt.Errorf("its tarball holds %d packages", len(where))
	}
	return found[where[0]], nil
}

// compare says what differs between an installed package and the cached one, and how many of Spack's
// records do, and how many programs and libraries lack their symbols only.
func compare(installed, cached map[string]file) (differences []string, records, stripped int) {
	names := slices.Collect(maps.Keys(installed))
	names = slices.AppendSeq(names, maps.Keys(cached))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		here, in := installed[name]
		there, was := cached[name]
		what := ""
		switch {
		case !in:
			what = "is missing"
		case !was:
			what = "is not in the cache's"
		default:
			if what = here.differs(there); what == "" && here.stripped(there) {
				stripped++
			}
		}
		switch {
		case what == "":
		case name == ".spack" || strings.HasPrefix(name, ".spack/"):
			records++
		default:
			differences = append(differences, name+" "+what)
		}
	}
	return differences, records, stripped
}

func list(all []string) string {
	if more := len(all) - shown; more > 0 {
		return fmt.Sprintf("%s, and %d more", strings.Join(all[:shown], ", "), more)
	}
	return strings.Join(all, ", ")
}
