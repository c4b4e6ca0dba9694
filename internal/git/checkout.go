package git

import (
	"net/url"
	"regexp"
	"strings"
)

// A Checkout is what git says of the folder that it runs in; what it does not
// know is empty.
type Checkout struct {
	Commit  string // what is checked out
	Changed bool   // there are changes that no commit has
	Branch  string // empty where none is checked out
	Default string // the remote's default branch
	Remote  string // the address of origin, as it may be published
}

// Describe asks git about a checkout. ask runs git and returns what it prints,
// or nothing where it fails.
func Describe(ask func(args ...string) string) Checkout {
	c := Checkout{
		Commit:  ask("rev-parse", "HEAD"),
		Branch:  ask("symbolic-ref", "--quiet", "--short", "HEAD"),
		Default: strings.TrimPrefix(ask("symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD"), "origin/"),
		Remote:  PublicURL(ask("config", "--get", "remote.origin.url")),
	}
	c.Changed = c.Commit != "" && ask("status", "--porcelain") != ""
	return c
}

// hostAndPath is the short form of an ssh address, user@host:path.
var hostAndPath = regexp.MustCompile(`^(?:[^@/:\s]+@)?([A-Za-z0-9][A-Za-z0-9.-]+):([^/:\\][^:\s\\]*)$`)

// PublicURL is the address of a repository as everybody may see it: without
// user, password, query and fragment. What does not parse, and a folder on this
// machine, has none.
func PublicURL(address string) string {
	if m := hostAndPath.FindStringSubmatch(address); m != nil {
		return "ssh://" + m[1] + "/" + m[2]
	}
	parsed, err := url.Parse(address)
	if err != nil || parsed.Host == "" || strings.Contains(parsed.Host, "@") {
		return ""
	}
	switch parsed.Scheme {
	case "https", "http", "ssh", "git":
	default:
		return ""
	}
	parsed.User, parsed.RawQuery, parsed.ForceQuery, parsed.Fragment, parsed.RawFragment = nil, "", false, "", ""
	return parsed.String()
}
