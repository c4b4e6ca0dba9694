// Package gateway is what a build may reach of this machine while it runs: an HTTP server on
// loopback, which hands out packages of the build caches, takes those that were built, and reads
// private git repositories. The credentials for all that stay here. So no build, which runs
// whatever its definition, recipes and configuration say, is given any.
//
// A build holds a token, which is good for its own session: reading its build caches, and handing
// over packages that are in its own lockfile. What it hands over is checked before it is signed and
// uploaded.
package gateway

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A Gateway serves builds for as long as this process lives, or until it is closed.
type Gateway struct {
	listener net.Listener
	server   *http.Server

	mu       sync.Mutex
	sessions map[string]*Session // by token
}

// New starts a gateway on loopback.
func New() (*Gateway, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g := &Gateway{listener: listener, sessions: map[string]*Session{}}
	g.server = &http.Server{Handler: g, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	g.serve(listener)
	return g, nil
}

// serve answers on one more listener.
func (g *Gateway) serve(listener net.Listener) {
	go func() { _ = g.server.Serve(listener) }() // ends when the server is closed
}

// Addr is where builds on this machine find the gateway: HOST:PORT.
func (g *Gateway) Addr() string { return g.listener.Addr().String() }

// Close ends the gateway, and with it the builds that use it.
func (g *Gateway) Close() {
	g.mu.Lock()
	sessions := g.sessions
	g.sessions = map[string]*Session{}
	g.mu.Unlock()
	for _, s := range sessions {
		s.end()
	}
	g.server.Close()
}

// Open begins a session for a build. It ends when it is closed.
func (g *Gateway) Open(b Build) (*Session, error) {
	s, err := newSession(g, b)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sessions[s.token] = s
	return s, nil
}

// ServeHTTP answers requests for /TOKEN/WHAT/… Who has no token learns nothing.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	g.mu.Lock()
	s := g.sessions[token]
	g.mu.Unlock()
	if s == nil {
		http.NotFound(w, r)
		return
	}
	s.serve(w, r, path)
}

// A Build says what a session offers.
type Build struct {
	Mirrors []Mirror          // packages are read from here, in this order
	Push    *Destination      // where packages go that were built; nil: they stay in the build
	Lock    []byte            // the spack.lock that is installed; nil while there is none: then no package is handed out or taken
	Git     []GitLogin        // private repositories that may be read
	Staging string            // a folder for packages on their way
	Note    func(note string) // is told what a person should know; may be nil
}

// A Session is what one build uses of a gateway.
type Session struct {
	Build
	gateway *Gateway
	token   string
	lock    *lock
	over    chan struct{}
	once    sync.Once
	inbox   inbox
	sources sources
}

func newSession(g *Gateway, b Build) (*Session, error) {
	s := &Session{Build: b, gateway: g, token: rand.Text(), over: make(chan struct{})}
	if b.Lock == nil {
		return s, nil
	}
	var err error
	s.lock, err = readLock(b.Lock)
	return s, err
}

// URL is what a build is told, where addr is the gateway as the build sees it.
func (s *Session) URL(addr string) string { return "http://" + addr + "/" + s.token }

// Secrets are what no log needs to show.
func (s *Session) Secrets() []string {
	values := []string{s.token}
	for _, g := range s.Git {
		values = append(values, g.Password)
	}
	return values
}

// End tells the build to stop. It may be called at any time, and several times.
func (s *Session) End() { s.end() }

func (s *Session) end() { s.once.Do(func() { close(s.over) }) }

// Close ends the session: its token is worth nothing any more, and what was not pushed by then is
// gone.
func (s *Session) Close() error {
	s.end()
	s.gateway.mu.Lock()
	delete(s.gateway.sessions, s.token)
	s.gateway.mu.Unlock()
	return s.inbox.close()
}

func (s *Session) note(text string) {
	if s.Note != nil {
		s.Note(text)
	}
}

// What a session offers, as the build reads it.
type offer struct {
	Mirror bool     `json:"mirror"` // packages can be had below mirror/
	Push   bool     `json:"push"`   // packages are taken below packages/
	Git    []string `json:"git"`    // hosts whose repositories can be had below git/HOST/
}

func (s *Session) serve(w http.ResponseWriter, r *http.Request, path string) {
	what, rest, _ := strings.Cut(path, "/")
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case what == "" && reads:
		s.describe(w)
	case what == "alive" && reads:
		s.wait(w, r)
	case what == "mirror" && reads:
		s.serveMirror(w, r, rest)
	case what == "packages" && r.Method == http.MethodPut:
		s.takeObject(w, r, rest)
	case what == "git":
		s.serveGit(w, r, rest)
	default:
		http.Error(w, "not offered", http.StatusForbidden)
	}
}

func (s *Session) describe(w http.ResponseWriter) {
	o := offer{Mirror: len(s.Mirrors) > 0, Push: s.Push != nil && s.lock != nil, Git: []string{}}
	for _, g := range s.Git {
		o.Git = append(o.Git, g.Host)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(o) // who asked has gone
}

// wait holds a connection until the session is over. A build that loses it ends: the process that
// started it is gone, or wants it to end, and an interrupted podman would leave its steps at work.
func (s *Session) wait(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	w.WriteHeader(http.StatusOK)
	if err := errors.Join(control.SetWriteDeadline(time.Time{}), control.Flush()); err != nil {
		return
	}
	select {
	case <-s.over:
	case <-r.Context().Done():
	}
}

// Alive reports whether the session goes on; a context that ends with it.
func (s *Session) context(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := make(chan struct{})
	go func() {
		select {
		case <-s.over:
		case <-stop:
		}
		cancel()
	}()
	return ctx, sync.OnceFunc(func() { close(stop); cancel() })
}
