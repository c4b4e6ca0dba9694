package container

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/image"
)

// SetLock takes the lockfile that is to be installed. A lockfile that was made for something else
// than the definition is an error. Where that cannot be told from its roots, one that was recorded
// as made from the same environment is believed.
func (c *Container) SetLock(text []byte) error {
	lock, err := buildcache.ParseLockfile(text)
	if err != nil {
		return err
	}
	if len(lock.Roots) == 0 {
		return errors.New("the lockfile has no roots")
	}
	recorded := recordedEnvironment(text)
	var order []int
	if c.order != nil {
		order, err = c.order(lock)
	}
	if c.order == nil || err != nil && recorded == c.environmentDigest() {
		order, err = nil, nil
		for i := range lock.Roots {
			order = append(order, i)
		}
	}
	if err != nil {
		return err
	}
	c.Lock, c.LockText, c.Roots, c.recorded = lock, text, nil, recorded
	for _, i := range order {
		if hash := lock.Roots[i].Hash; !slices.Contains(c.Roots, hash) {
			c.Roots = append(c.Roots, hash)
		}
	}
	c.Version = lock.Specs[c.Roots[0]].Version
	return nil
}

// LockNotes are what a person should know of the lockfile, though it can be built: that it was made
// from other settings, or names what is something else tomorrow.
func (c Container) LockNotes() []string {
	var notes []string
	if c.recorded != "" && c.recorded != c.environmentDigest() {
		notes = append(notes, fmt.Sprintf("it was concretized from other settings than the definition's: mage containers:lock %s --save makes a new one", c.Name))
	}
	var moving []string
	for _, spec := range c.Lock.Specs {
		if isMoving(spec) {
			moving = append(moving, spec.Name+"@"+spec.Version)
		}
	}
	if len(moving) > 0 {
		slices.Sort(moving)
		notes = append(notes, fmt.Sprintf("it names branches, which move, so that another day builds something else: %s; a version or a commit (@git.COMMIT) stays", strings.Join(moving, ", ")))
	}
	return notes
}

// branches are the versions that Spack takes for branches: they are newer than all numbers.
var branches = []string{"develop", "main", "master", "head", "trunk", "stable"}

// gitCommit is a version that is a commit, alone or with what it counts as.
var gitCommit = regexp.MustCompile(`^(?:git\.)?[0-9a-f]{40}(?:=|$)`)

// isMoving reports whether a spec's sources are those of a branch, of which no commit is recorded.
func isMoving(spec *buildcache.Spec) bool {
	if _, pinned := spec.Parameters["commit"]; pinned || spec.External || spec.Parameters["dev_path"] != nil {
		return false
	}
	if strings.HasPrefix(spec.Version, "git.") {
		return !gitCommit.MatchString(spec.Version)
	}
	name, _, _ := strings.Cut(spec.Version, "=")
	return slices.Contains(branches, name)
}

// environmentDigest is the digest of what is concretized: the merged environment and the files that
// it refers to.
func (c Container) environmentDigest() string {
	return image.BuildKey(append(slices.Clone(c.environment), image.Input{Kind: "environment", Digest: sum(c.Spack)}))
}

// recordKey is a key of our own in lockfiles, which Spack passes over, and drops when it writes
// them anew.
const recordKey = "spacktainers"

// RecordedLock returns the container's lockfile with the digest of the environment that it was made
// from, to be kept beside the definition.
func (c Container) RecordedLock() []byte {
	at := bytes.IndexByte(c.LockText, '{') + 1
	record := fmt.Sprintf(`%q: {"environment": %q}, `, recordKey, c.environmentDigest())
	return slices.Concat(c.LockText[:at], []byte(record), c.LockText[at:])
}

func recordedEnvironment(lock []byte) string {
	if !bytes.Contains(lock, []byte(`"`+recordKey+`"`)) {
		return ""
	}
	var text struct {
		Record struct {
			Environment string `json:"environment"`
		} `json:"spacktainers"`
	}
	if json.Unmarshal(lock, &text) != nil {
		return ""
	}
	return text.Record.Environment
}
