package podman

import (
	"fmt"
	"os"
)

// Secrets are what steps of a build may read, and nobody else.
type Secrets struct {
	MirrorKeyID    string // credentials of the build cache's bucket
	MirrorSecret   string
	SigningPublic  string // paths of the keys that packages are signed with
	SigningPrivate string
	GitCredentials string // path of a file as git's credential store has it: https://user:token@host in each line
}

// read returns the credentials that there are, by the names that the builder knows them by.
func (s Secrets) read() (map[string][]byte, error) {
	credentials := map[string][]byte{}
	for _, secret := range []struct{ name, value, path string }{
		{name: "mirror_access_key_id", value: s.MirrorKeyID},
		{name: "mirror_secret_access_key", value: s.MirrorSecret},
		{name: "signing_public", path: s.SigningPublic},
		{name: "signing_private", path: s.SigningPrivate},
		{name: "git_credentials", path: s.GitCredentials},
	} {
		content := []byte(secret.value)
		if secret.path != "" {
			var err error
			if content, err = os.ReadFile(secret.path); err != nil {
				return nil, fmt.Errorf("secret %s: %w", secret.name, err)
			}
		}
		if len(content) > 0 {
			credentials[secret.name] = content
		}
	}
	return credentials, nil
}

// values are what no log may show.
func (s Secrets) values() []string {
	return []string{s.MirrorSecret, s.MirrorKeyID}
}
