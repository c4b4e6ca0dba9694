package podman

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"

	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/git"
)

// A Source is a git repository that goes into the builder: Spack itself, or one with package
// repositories.
type Source struct {
	URL    string   // whatever git takes, also a path on this machine
	Ref    string   // a branch, a tag or a commit
	Paths  []string // of the package repositories in it
	Commit string   // what Ref names; Pin finds out

	isBranch bool // Ref is one, as far as Pin has asked
}

// Check refuses what git would take for something else than a repository, and credentials, which do
// not belong here.
func (s Source) Check() error {
	if err := git.CheckURL(s.URL); err != nil {
		return err
	}
	if err := git.CheckRef(s.Ref); err != nil {
		return err
	}
	for _, path := range s.Paths {
		if !filepath.IsLocal(path) || strings.ContainsFunc(path, unicode.IsSpace) { // the builder reads a list of words
			return fmt.Errorf("%q is no path in a repository", path)
		}
	}
	return nil
}

// commitAndPaths is what a source is made of, wherever it is kept.
func (s Source) commitAndPaths() string { return s.Commit + " " + strings.Join(s.Paths, " ") }

var commit = regexp.MustCompile(`^[0-9a-f]{40}$`)

// Pin asks the repository which commit its ref names.
func (s Source) Pin(ctx context.Context, run command.Runner) (Source, error) {
	if err := s.Check(); err != nil {
		return s, err
	}
	if info, err := os.Stat(s.URL); err == nil && info.IsDir() {
		if s.URL, err = filepath.Abs(s.URL); err != nil { // git runs in other folders, too
			return s, err
		}
	}
	if commit.MatchString(s.Ref) {
		s.Commit = s.Ref
		return s, nil
	}
	c := gitCmd("", "ls-remote", "--", s.URL, s.Ref, s.Ref+"^{}")
	c.Stderr = discard{}
	text, err := command.Output(ctx, run, c)
	if err != nil {
		return s, fmt.Errorf("which commit is %s of %s: %w: its url in spacktainers.yaml may as well be that of a mirror, or a clone's folder", s.Ref, s.URL, gitsReason(ctx, err))
	}
	var name string
	if s.Commit, name = named(text, s.Ref); !commit.MatchString(s.Commit) {
		return s, fmt.Errorf("%s has no branch or tag %q", s.URL, s.Ref)
	}
	s.isBranch = name == branchPrefix+s.Ref
	return s, nil
}

// waited is how long curl, of which git makes use, has waited: by it alone the same reason would be told
// again and again.
var waited = regexp.MustCompile(` after \d+ (ms|milliseconds)`)

// gitsReason is what git says last: its command line is long, and no help.
func gitsReason(ctx context.Context, err error) error {
	var failed *command.Error
	if ctx.Err() != nil || !errors.As(err, &failed) || failed.Tail == "" {
		return err
	}
	lines := strings.Split(waited.ReplaceAllString(failed.Tail, ""), "\n")
	for _, line := range lines {
		if reason, ok := strings.CutPrefix(line, "fatal: "); ok {
			return errors.New(reason)
		}
	}
	return errors.New(lines[len(lines)-1])
}

const branchPrefix = "refs/heads/"

// named picks the commit of a ref from what git ls-remote says, and the whole name that it has
// there: a tag before a branch of the same name, as git does, and of a tag with a message the commit
// that it is for.
func named(listing, ref string) (hash, name string) {
	found := map[string]string{}
	for line := range strings.Lines(listing) {
		if hash, name, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			found[name] = hash
		}
	}
	for _, name := range []string{"refs/tags/" + ref + "^{}", "refs/tags/" + ref, branchPrefix + ref, ref + "^{}", ref} {
		if found[name] != "" {
			return found[name], name
		}
	}
	return "", ""
}

// fetch puts the pinned commit into an empty or missing folder: the commit itself, without what
// came before. Git's own folder stays, because Spack looks there for the commit that it writes into
// lockfiles.
func (s Source) fetch(ctx context.Context, run command.Runner, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	err := run(ctx, gitCmd(dir, "init", "--quiet"))
	if err == nil {
		err = run(ctx, gitCmd(dir, "fetch", "--quiet", "--depth=1", "--", s.URL, s.Commit))
	}
	if err == nil {
		err = run(ctx, gitCmd(dir, "checkout", "--quiet", s.Commit))
	}
	if err == nil {
		err = s.track(ctx, run, dir)
	}
	if err != nil {
		return fmt.Errorf("fetch %s of %s: %w", s.Ref, s.URL, err)
	}
	return nil
}

// track makes the fetched commit the branch that it is, so that people who work in the image can say
// git pull there. Of a tag or a commit there is nothing to pull, nor from a folder of this machine.
func (s Source) track(ctx context.Context, run command.Runner, dir string) error {
	if !s.isBranch || !strings.Contains(s.URL, ":") {
		return nil
	}
	for _, args := range [][]string{
		{"remote", "add", "-t", s.Ref, "origin", s.URL},
		{"update-ref", "refs/remotes/origin/" + s.Ref, s.Commit},
		{"checkout", "--quiet", "-B", s.Ref, "--track", "origin/" + s.Ref},
	} {
		if err := run(ctx, gitCmd(dir, args...)); err != nil {
			return err
		}
	}
	return nil
}

func gitCmd(dir string, args ...string) command.Cmd {
	argv := []string{"git"}
	if dir != "" {
		argv = append(argv, "-C", dir)
	}
	return command.Cmd{
		Args: append(append(argv, "-c", "advice.detachedHead=false", "-c", "safe.directory=*"), args...),
		Env: []string{
			"GIT_TERMINAL_PROMPT=0",                                  // a question would wait for ever in CI
			"GIT_ALLOW_PROTOCOL=" + strings.Join(git.Protocols, ":"), // also where a server sends us on
		},
	}
}
