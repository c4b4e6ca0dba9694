package build

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Secrets are what steps of a build may read, and nobody else. Values are written to files that only we can read, for as
// long as a build takes; podman shows each to single steps below /run/secrets.
type Secrets struct {
	MirrorKeyID    string // credentials of the build cache's bucket
	MirrorSecret   string
	SigningPublic  string // paths of the keys that packages are signed with
	SigningPrivate string
	GitCredentials string // path of a file as git's credential store has it: https://user:token@host in each line
}

// with writes the secrets to files, hands podman's arguments for them to do, and removes the files.
func (s Secrets) with(do func(args []string) error) (err error) {
	dir, err := secretDir()
	if err != nil {
		return err
	}
	defer func() {
		if gone := os.RemoveAll(dir); err == nil {
			err = gone
		}
	}()
	var args []string
	for _, secret := range []struct{ id, value, path string }{
		{id: "mirror_access_key_id", value: s.MirrorKeyID},
		{id: "mirror_secret_access_key", value: s.MirrorSecret},
		{id: "signing_public", path: s.SigningPublic},
		{id: "signing_private", path: s.SigningPrivate},
		{id: "git_credentials", path: s.GitCredentials},
	} {
		path := secret.path
		switch {
		case secret.value != "":
			path = filepath.Join(dir, secret.id)
			if err := os.WriteFile(path, []byte(secret.value), 0o600); err != nil {
				return err
			}
		case path == "":
			continue
		default:
			if _, err := os.Stat(path); err != nil {
				return fmt.Errorf("secret %s: %w", secret.id, err)
			}
		}
		args = append(args, "--secret=id="+secret.id+",src="+path)
	}
	return do(args)
}

// secretDir is in memory where the system has such a place: what is never on a disk need not be wiped from it. What a
// killed process left there goes first.
func secretDir() (string, error) {
	parent := "/dev/shm"
	if info, err := os.Stat(parent); err != nil || !info.IsDir() {
		parent = os.TempDir()
	}
	left, _ := filepath.Glob(filepath.Join(parent, "spacktainers-secrets-*"))
	for _, dir := range left {
		if abandoned(dir) {
			os.RemoveAll(dir) // not ours, perhaps: then it stays
		}
	}
	return os.MkdirTemp(parent, fmt.Sprintf("spacktainers-secrets-%d-*", os.Getpid()))
}

// abandoned says whether the process that a folder of secrets is named for is gone.
func abandoned(dir string) bool {
	var pid int
	if _, err := fmt.Sscanf(filepath.Base(dir), "spacktainers-secrets-%d-", &pid); err != nil {
		return false
	}
	process, err := os.FindProcess(pid)
	return err == nil && errors.Is(process.Signal(syscall.Signal(0)), os.ErrProcessDone)
}

// values are what no log may show.
func (s Secrets) values() []string {
	return []string{s.MirrorSecret, s.MirrorKeyID}
}
