package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/push"
)

// A Destination is the build cache that takes what a build has built.
type Destination struct {
	Store  push.Store
	Signer *push.Signer        // signs each package; nil: they go unsigned
	Keys   *buildcache.Keyring // by which a package that is there already must be signed; nil: any will do
}

// A refusal is why a package is not what the lockfile says, or no package at all.
type refusal struct{ error }

// takeObject takes one object of a package under the key that Spack gives it in a build cache. The
// spec file or manifest comes last, as Spack writes them: then the package is checked, signed and
// uploaded before the reply.
func (s *Session) takeObject(w http.ResponseWriter, r *http.Request, key string) {
	if s.Push == nil || s.lock == nil {
		http.Error(w, "this build pushes nothing", http.StatusForbidden)
		return
	}
	ctx, cancel := s.context(r.Context())
	defer cancel()
	answer, err := s.receive(ctx, key, limited(w, r))
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		s.note(fmt.Sprintf("refused what the build handed over as %q: %v", key, err))
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
	case err != nil:
		s.note(fmt.Sprintf("not pushed: %v", err))
		http.Error(w, "it could not be stored", http.StatusBadGateway) // why is nothing that a build needs to know
	default:
		_, _ = io.WriteString(w, answer+"\n")
	}
}

// What a build is told of what it handed over.
const (
	waiting  = "waiting"
	pushed   = "pushed"
	present  = "there already"
	unwanted = "not of this lockfile"
)

func (s *Session) receive(ctx context.Context, key string, body io.Reader) (string, error) {
	if !fs.ValidPath(key) {
		return "", &refusal{errors.New("no key of a build cache")}
	}
	hash, named := buildcache.KeyHash(key)
	switch {
	case named && s.lock.Specs[hash] == nil:
		return unwanted, nil
	case named && s.lock.Specs[hash].External:
		return "", &refusal{errors.New("it is external: no package of the build's")}
	case named && !isTarball(key):
		text, err := bounded(body)
		if err != nil {
			return "", &refusal{err}
		}
		return s.receivePackage(ctx, s.lock.Specs[hash], key, text)
	case named && key == buildcache.TarballKey(s.lock.Specs[hash]), strings.HasPrefix(key, "blobs/sha256/"):
		return waiting, s.inbox.put(s.Staging, key, body)
	}
	return "", &refusal{errors.New("no key of a package")}
}

// receivePackage checks a package whose parts are all here, and pushes it.
func (s *Session) receivePackage(ctx context.Context, spec *buildcache.Spec, key string, text []byte) (string, error) {
	take := s.takeV3
	layout := 3
	if !strings.HasSuffix(key, manifestSuffix) {
		take, layout = s.takeV2, 2
	}
	if keys := buildcache.SpecKeys(spec, layout); key != keys[len(keys)-1] {
		return "", &refusal{fmt.Errorf("%s belongs elsewhere: as %s", spec, keys[len(keys)-1])}
	}
	p, tarball, err := take(spec, text)
	if err != nil {
		return "", err
	}
	defer tarball.file.Close()
	there, err := Mirror{s.Push.Store, s.Push.Keys}.has(ctx, s.lock, spec, layout)
	if err != nil || there {
		return present, err
	}
	if err := checkArchive(io.NewSectionReader(tarball.file, 0, tarball.size), tarball.size, spec); err != nil {
		return "", &refusal{fmt.Errorf("%s: its tarball: %w", spec, err)}
	}
	p.Spec, p.Layout, p.Tarball, p.Size, p.Checksum = spec, layout, tarball.file, tarball.size, tarball.checksum
	if err := push.Push(ctx, s.Push.Store, s.Push.Signer, p); err != nil {
		return "", err
	}
	return pushed, nil
}

// takeV2 puts together a package of layout v2.
func (s *Session) takeV2(spec *buildcache.Spec, text []byte) (push.Package, arrived, error) {
	f, specText, err := s.checkSpec(spec, text)
	if err != nil {
		return push.Package{}, arrived{}, err
	}
	tarball, ok := s.inbox.take(buildcache.TarballKey(spec))
	if !ok {
		return push.Package{}, arrived{}, &refusal{fmt.Errorf("%s: its tarball did not come", spec)}
	}
	if f.algorithm != "sha256" || f.checksum != tarball.checksum {
		tarball.file.Close()
		return push.Package{}, arrived{}, &refusal{fmt.Errorf("%s: its tarball has another checksum than its spec file says", spec)}
	}
	return push.Package{SpecFile: specText}, tarball, nil
}

// takeV3 puts together a package of layout v3.
func (s *Session) takeV3(spec *buildcache.Spec, text []byte) (push.Package, arrived, error) {
	refuse := func(err error) (push.Package, arrived, error) {
		return push.Package{}, arrived{}, &refusal{fmt.Errorf("%s: %w", spec, err)}
	}
	m, err := buildcache.ParseManifest(text)
	if err != nil {
		return refuse(err)
	}
	tarballBlob, blob, err := blobs(m)
	if err != nil {
		return refuse(err)
	}
	packed, ok := s.inbox.take(blob.Key())
	if !ok {
		return refuse(errors.New("its spec blob did not come"))
	}
	defer packed.file.Close()
	data, err := bounded(io.NewSectionReader(packed.file, 0, packed.size))
	if err == nil {
		data, err = unpackSpec(data, blob)
	}
	if err != nil {
		return refuse(err)
	}
	_, specText, err := s.checkSpec(spec, data)
	if err != nil {
		return push.Package{}, arrived{}, err
	}
	tarball, ok := s.inbox.take(tarballBlob.Key())
	if !ok {
		return refuse(errors.New("its tarball did not come"))
	}
	if tarball.checksum != tarballBlob.Checksum || tarball.size != tarballBlob.Size || tarballBlob.Compression != "gzip" {
		tarball.file.Close()
		return refuse(errors.New("its tarball is not what its manifest says"))
	}
	return push.Package{SpecFile: specText, TarballType: tarballBlob.MediaType, SpecType: blob.MediaType}, tarball, nil
}

// checkSpec compares a spec file with the lockfile, and returns it in the lockfile's own words.
func (s *Session) checkSpec(spec *buildcache.Spec, text []byte) (*specFile, []byte, error) {
	f, err := parseSpecFile(text)
	if err == nil {
		err = s.lock.about(f, spec.Hash)
	}
	if err == nil {
		err = s.lock.whole(f)
	}
	if err == nil && f.layout != 2 {
		err = fmt.Errorf("tarball layout %d is not known here, only 2", f.layout)
	}
	if err != nil {
		return nil, nil, &refusal{fmt.Errorf("%s: its spec file: %w", spec, err)}
	}
	own, err := s.lock.specText(f)
	return f, own, err
}
