package pipeline

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
)

// secrets are what no pipeline's file may hold, by what each is called.
var secrets = map[string]*regexp.Regexp{
	"a private key":               regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY`),
	"an access key of AWS":        regexp.MustCompile(`\b(AKIA|ASIA)[A-Z0-9]{16}\b`),
	"a signed URL":                regexp.MustCompile(`(?i)X-Amz-(Signature|Credential|Security-Token)|[?&](sig|signature)=`),
	"a token of GitLab or GitHub": regexp.MustCompile(`\b(glpat|gldt|glcbt|glrt)-[\w-]{10,}|\b(ghp|gho|ghs|ghu)_\w{20,}|\bgithub_pat_\w{20,}`),
	"a URL with a password":       regexp.MustCompile(`\w://[^/\s:@"'$]*:[^/\s@"'$]+@`),
}

// checkSecrets refuses a file in which something looks like a secret, and does not repeat it.
func checkSecrets(name string, text []byte) error {
	for _, what := range slices.Sorted(maps.Keys(secrets)) {
		if secrets[what].Match(text) {
			return fmt.Errorf("%s: it has %s: what is written to a pipeline can be read by all who read the project", name, what)
		}
	}
	return nil
}
