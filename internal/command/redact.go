package command

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"sync"
)

const hiddenAs = "***"

// Redact returns a writer that passes everything on to w but shows every secret as ***, also one
// that arrives in several writes. It holds back what may be the start of a secret until more comes;
// Close lets that go, and leaves w open.
func Redact(w io.Writer, secrets ...string) io.WriteCloser {
	r := &redactor{w: w}
	for _, s := range secrets {
		if s = strings.TrimSpace(s); s != "" { // a value read from a file may end in a newline
			r.secrets = append(r.secrets, []byte(s))
		}
	}
	slices.SortFunc(r.secrets, func(a, b []byte) int { return len(b) - len(a) })
	return r
}

type redactor struct {
	mu      sync.Mutex
	w       io.Writer
	secrets [][]byte // the longest first: a short one may be the start of a long one
	held    []byte
}

func (r *redactor) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = append(r.held, p...)
	if err := r.pass(false); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (r *redactor) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pass(true)
}

// pass writes all that is held but a possible start of a secret, or all where nothing more will
// come.
func (r *redactor) pass(last bool) error {
	var out []byte
	in := r.held
	for len(in) > 0 {
		if !last && r.mayStart(in) {
			break
		}
		if n := r.match(in); n > 0 {
			out, in = append(out, hiddenAs...), in[n:]
			continue
		}
		out, in = append(out, in[0]), in[1:]
	}
	r.held = append(r.held[:0], in...)
	if len(out) == 0 {
		return nil
	}
	_, err := r.w.Write(out)
	return err
}

// mayStart reports whether in is the start of a secret that is longer than it.
func (r *redactor) mayStart(in []byte) bool {
	return slices.ContainsFunc(r.secrets, func(s []byte) bool { return len(in) < len(s) && bytes.HasPrefix(s, in) })
}

// match returns the length of the longest secret that in starts with.
func (r *redactor) match(in []byte) int {
	for _, s := range r.secrets {
		if bytes.HasPrefix(in, s) {
			return len(s)
		}
	}
	return 0
}

func redact(s string, secrets []string) string {
	var b strings.Builder
	w := Redact(&b, secrets...)
	_, _ = io.WriteString(w, s) // a Builder takes everything
	_ = w.Close()
	return b.String()
}

func redactAll(list, secrets []string) []string {
	shown := make([]string, len(list))
	for i, s := range list {
		shown[i] = redact(s, secrets)
	}
	return shown
}
