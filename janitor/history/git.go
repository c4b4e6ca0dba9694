package history

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// GitLog are the arguments of the git command whose output ParseGitLog reads: the lockfiles of all
// commits that led to the current one, oldest first.
var GitLog = []string{"log", "--reverse", "--first-parent", "-m", "--raw", "--no-abbrev", "--no-renames", "--format=commit %ct", "--",
	":(glob)**/spack.lock", ":(glob)**/*.spack.lock"}

// A Change is that a commit has another lockfile than the one before it.
type Change struct {
	At   time.Time // of the commit
	Path string
	Blob string // git's name of the content; empty: the lockfile is gone
}

// ParseGitLog reads what git prints for GitLog. Commits whose clock was wrong count as made with
// the one before them.
func ParseGitLog(text string) ([]Change, error) {
	var changes []Change
	var at time.Time
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case line == "":
		case strings.HasPrefix(line, "commit "):
			seconds, err := strconv.ParseInt(strings.TrimPrefix(line, "commit "), 10, 64)
			if err != nil {
				return nil, fmt.Errorf("git log: %q is no commit's time", line)
			}
			if now := time.Unix(seconds, 0).UTC(); now.After(at) {
				at = now
			}
		case strings.HasPrefix(line, ":"): // :100644 100644 OLD NEW M<tab>PATH
			meta, path, ok := strings.Cut(line, "\t")
			fields := strings.Fields(meta)
			if !ok || len(fields) != 5 {
				return nil, fmt.Errorf("git log: cannot read %q", line)
			}
			c := Change{At: at, Path: path}
			if fields[4] != "D" {
				c.Blob = fields[3]
			}
			changes = append(changes, c)
		}
	}
	return changes, nil
}

// FromLocks makes a history of lockfiles that have changed. read returns the content of one; a
// lockfile that cannot be parsed is passed over, and returned in broken: there is nothing that was
// built from it.
func FromLocks(changes []Change, cost Cost, read func(blob string) ([]byte, error)) (h History, broken []string, err error) {
	b := Builder{Cost: cost}
	known := map[string][]int{}
	for _, c := range changes {
		if c.Blob == "" {
			b.Events = append(b.Events, Event{At: c.At, Environment: c.Path})
			continue
		}
		roots, ok := known[c.Blob]
		if !ok {
			text, err := read(c.Blob)
			if err != nil {
				return h, broken, fmt.Errorf("history: %s: %w", c.Path, err)
			}
			lock, err := buildcache.ParseLockfile(text)
			if err != nil {
				broken = append(broken, fmt.Sprintf("%s of %s: %v", c.Path, c.At.Format(time.DateOnly), err))
				known[c.Blob] = nil
				continue
			}
			roots = b.Lock(lock)
			known[c.Blob] = roots
		}
		if len(roots) > 0 {
			b.Events = append(b.Events, Event{c.At, c.Path, roots})
		}
	}
	return b.History, broken, nil
}

// FromUploads makes a history of when specs came into a cache: each that no other one of the cache
// needs was wanted when it was uploaded, instead of the one of its package before it. What was
// deleted meanwhile is not in it.
func FromUploads(specs map[buildcache.Hash]*buildcache.Spec, uploaded map[buildcache.Hash]time.Time, cost Cost) History {
	needed := map[buildcache.Hash]bool{}
	for h := range uploaded {
		if s := specs[h]; s != nil {
			for _, d := range s.Dependencies {
				needed[d.Hash] = true
			}
		}
	}
	var tops []buildcache.Hash
	for h := range uploaded {
		if specs[h] != nil && !needed[h] {
			tops = append(tops, h)
		}
	}
	slices.SortFunc(tops, func(a, b buildcache.Hash) int {
		if c := uploaded[a].Compare(uploaded[b]); c != 0 {
			return c
		}
		return strings.Compare(string(a), string(b))
	})
	b := Builder{Cost: cost}
	for _, h := range tops {
		if roots := b.Lock(&buildcache.Lockfile{Roots: []buildcache.Root{{Hash: h}}, Specs: specs}); len(roots) > 0 {
			b.Events = append(b.Events, Event{uploaded[h], specs[h].Name, roots})
		}
	}
	return b.History
}
