// Package git checks what people write about git repositories before the program git gets to see
// it.
package git

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Protocols are the transports that a repository may be reached by. Others, such as ext:: and those
// that helpers on PATH provide, run commands that the URL names.
var Protocols = []string{"https", "http", "ssh", "git", "file"}

// CheckURL refuses what is no address of a repository: options of git, transports that are not in
// Protocols, and an address with credentials in it. Paths and user@host:path are addresses. Its
// errors never repeat a credential.
func CheckURL(address string) error {
	scheme, rest, isURL := strings.Cut(address, "://")
	switch {
	case address == "":
		return errors.New("no address of a git repository")
	case strings.HasPrefix(address, "-"):
		return errors.New("an address of a git repository does not begin with a dash")
	case strings.ContainsFunc(address, isControl):
		return errors.New("an address of a git repository has no control characters")
	case isHelper(address):
		return fmt.Errorf("git may not use a transport helper: write %s://…, user@host:path or a folder", strings.Join(Protocols, "://…, "))
	case !isURL:
		return checkHost(address)
	case !slices.Contains(Protocols, scheme):
		return fmt.Errorf("git may not use %q: write %s://…, user@host:path or a folder", scheme, strings.Join(Protocols, "://…, "))
	}
	authority, _, _ := strings.Cut(rest, "/")
	return checkAuthority(scheme, authority)
}

// isHelper recognizes HELPER::ADDRESS.
func isHelper(address string) bool {
	helper, _, found := strings.Cut(address, "::")
	return found && !strings.ContainsAny(helper, "/[")
}

// checkAuthority looks at the part between :// and the path. Only ssh needs to know who logs in.
func checkAuthority(scheme, authority string) error {
	at := strings.LastIndex(authority, "@")
	if at >= 0 && scheme != "ssh" || strings.Contains(authority[:max(at, 0)], ":") {
		return errors.New("credentials do not belong into the address of a git repository: leave them to git's credential helper")
	}
	if parsed, err := url.Parse(scheme + "://" + authority); err != nil || scheme != "file" && parsed.Hostname() == "" {
		return errors.New("the address of a git repository has no valid host")
	}
	return checkHost(authority)
}

// checkHost refuses what ssh would take for an option in user@host.
func checkHost(authority string) error {
	user, host, hasUser := strings.Cut(authority, "@")
	if strings.HasPrefix(user, "-") || hasUser && strings.HasPrefix(host, "-") {
		return errors.New("neither user nor host in the address of a git repository begin with a dash")
	}
	return nil
}

// CheckRef refuses what can be no branch, tag or commit, above all an option.
func CheckRef(ref string) error {
	if ref == "" || strings.HasPrefix(ref, "-") || strings.Contains(ref, "..") ||
		strings.ContainsAny(ref, " ~^:?*[\\") || strings.ContainsFunc(ref, isControl) {
		return fmt.Errorf("%q is no branch, tag or commit", ref)
	}
	return nil
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }
