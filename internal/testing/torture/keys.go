package torture

import "strings"

// Where Spack puts things, and what a key says of an object.

func stem(s *Spec) string {
	return arch + "-" + compiler + "-" + s.Name + "-" + s.Version + "-" + s.Hash
}

func (s *Spec) specFileKey(signed bool) string {
	return "build_cache/" + stem(s) + ".spec.json" + []string{"", ".sig"}[btoi(signed)]
}

func (s *Spec) tarballKey() string {
	return "build_cache/" + arch + "/" + compiler + "/" + s.Name + "-" + s.Version + "/" + stem(s) + ".spack"
}

func (s *Spec) manifestKey() string {
	return "v3/manifests/spec/" + s.Name + "/" + s.Name + "-" + s.Version + "-" + s.Hash + ".spec.manifest.json"
}

func blobKey(content []byte) string { return blobPath(digest(content)) }

func blobPath(sum string) string { return "blobs/sha256/" + sum[:2] + "/" + sum }

const (
	indexV2     = "build_cache/index.json"
	indexV2Hash = "build_cache/index.json.hash"
	indexV3     = "v3/manifests/index/index.manifest.json"
)

func viewKey(view string) string { return "v3/manifests/index/" + view + "/index.manifest.json" }

type kind int

const (
	foreign  kind = iota // nothing that a cache has: it is never touched
	specFile             // layout v2
	tarball              // layout v2
	specManifest
	otherManifest // of an index, a view, a key
	blobObject
	ownObject // the janitor's
	indexText // layout v2, and its checksum
)

const ownPrefix = ".spacktainers/"

// sortKey says what an object is, by its key alone, and which spec it belongs to.
func sortKey(key string) (kind, string) {
	switch {
	case strings.HasPrefix(key, ownPrefix):
		return ownObject, ""
	case key == indexV2 || key == indexV2Hash:
		return indexText, ""
	case strings.HasPrefix(key, "blobs/sha256/"):
		if sum := key[len("blobs/sha256/"):]; len(sum) == 67 && sum[2] == '/' && sum[:2] == sum[3:5] && made(sum[3:], "0123456789abcdef") {
			return blobObject, ""
		}
	case strings.HasPrefix(key, "build_cache/"):
		for _, ending := range []string{".spec.json", ".spec.json.sig", ".spack"} {
			if hash := hashBefore(key, ending); hash != "" {
				return []kind{specFile, tarball}[btoi(ending == ".spack")], hash
			}
		}
	case strings.HasPrefix(key, "v3/manifests/spec/"):
		if hash := hashBefore(key, ".spec.manifest.json"); hash != "" {
			return specManifest, hash
		}
		return foreign, ""
	case strings.HasPrefix(key, "v3/manifests/") && strings.HasSuffix(key, ".manifest.json"):
		return otherManifest, ""
	}
	return foreign, ""
}

// hashBefore returns the hash in front of an ending: -HASH.spack.
func hashBefore(key, ending string) string {
	stem, ok := strings.CutSuffix(key, ending)
	if !ok || len(stem) < 33 || stem[len(stem)-33] != '-' || !made(stem[len(stem)-32:], "abcdefghijklmnopqrstuvwxyz234567") {
		return ""
	}
	return stem[len(stem)-32:]
}

// made reports whether a text is made of these characters alone.
func made(text, of string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return !strings.ContainsRune(of, r) })
}
