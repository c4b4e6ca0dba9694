package gateway

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
)

// A GitLogin lets a build read the repositories of a host. The build never sees it: it asks us, and
// we ask the host.
type GitLogin struct {
	Host     string // with its port, if it is not https's own
	User     string
	Password string
	plain    bool // http, for tests on loopback
}

// ReadGitLogins reads a file of git's credential store, https://user:password@host in each line,
// and returns the logins for those hosts that are named. A host without a line is an error. Errors
// repeat nothing of the file but the hosts.
func ReadGitLogins(text []byte, hosts []string) ([]GitLogin, error) {
	found := map[string]GitLogin{}
	number := 0
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		number++
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		u, err := url.Parse(line)
		if err != nil || u.Host == "" || u.User == nil {
			return nil, fmt.Errorf("git credentials: line %d is none of https://user:password@host", number)
		}
		password, _ := u.User.Password()
		if u.Scheme == "https" {
			found[u.Host] = GitLogin{Host: u.Host, User: u.User.Username(), Password: password}
		}
	}
	var logins []GitLogin
	for _, host := range hosts {
		login, ok := found[host]
		if !ok {
			return nil, fmt.Errorf("git credentials: no line https://…@%s", host)
		}
		logins = append(logins, login)
	}
	return logins, nil
}

// The two requests of git's protocol that read. Writing, which is git-receive-pack, is not among
// them.
const (
	refsPath   = "info/refs"
	uploadPack = "git-upload-pack"
)

// serveGit passes a read of a repository on: HOST/PATH/info/refs?service=git-upload-pack, or
// HOST/PATH/git-upload-pack.
func (s *Session) serveGit(w http.ResponseWriter, r *http.Request, rest string) {
	host, repository, _ := strings.Cut(rest, "/")
	i := slices.IndexFunc(s.Git, func(g GitLogin) bool { return g.Host == host })
	asks := r.Method == http.MethodGet && strings.HasSuffix(repository, "/"+refsPath) && r.URL.RawQuery == "service="+uploadPack
	fetches := r.Method == http.MethodPost && strings.HasSuffix(repository, "/"+uploadPack) && r.URL.RawQuery == ""
	if i < 0 || path.Clean("/"+repository) != "/"+repository || !asks && !fetches {
		http.Error(w, "not offered", http.StatusForbidden)
		return
	}
	ctx, cancel := s.context(r.Context())
	defer cancel()
	if err := s.Git[i].forward(ctx, w, r, repository); err != nil {
		s.note(fmt.Sprintf("git: %s/%s: %v", host, repository, err))
		http.Error(w, "the repository cannot be read", http.StatusBadGateway)
	}
}

func (g GitLogin) forward(ctx context.Context, w http.ResponseWriter, r *http.Request, repository string) error {
	to := url.URL{Scheme: "https", Host: g.Host, Path: "/" + repository, RawQuery: r.URL.RawQuery}
	if g.plain {
		to.Scheme = "http"
	}
	request, err := http.NewRequestWithContext(ctx, r.Method, to.String(), r.Body)
	if err != nil {
		return err
	}
	request.ContentLength = r.ContentLength
	for _, name := range []string{"Accept", "Content-Type", "Content-Encoding", "Git-Protocol"} {
		if value := r.Header.Get(name); value != "" {
			request.Header.Set(name, value)
		}
	}
	request.SetBasicAuth(g.User, g.Password)
	client := http.Client{CheckRedirect: func(next *http.Request, via []*http.Request) error {
		if next.URL.Host != to.Host || next.URL.Scheme != to.Scheme || len(via) > 5 {
			return errors.New("it sends us elsewhere")
		}
		return nil
	}}
	response, err := client.Do(request)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err
		}
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the host says %s", response.Status)
	}
	w.Header().Set("Content-Type", response.Header.Get("Content-Type"))
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = io.Copy(w, response.Body) // a reader that is gone
	return nil
}
