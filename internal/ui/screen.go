package ui

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/term"
)

// A screen is where log and progress go. On a terminal the lines of progress are below the log, and
// are drawn over and over; what is written to the screen appears above them.
type screen struct {
	w     io.Writer
	size  func() (width, height int)
	mu    sync.Mutex
	shown []*Progress // whose lines are drawn, one below the other
	drawn int         // how many lines are there
}

func newScreen(w io.Writer) *screen {
	return &screen{w: w, size: func() (int, int) { return terminalSize(w) }}
}

// terminalSize is that of a terminal, with what is usual where it does not tell.
func terminalSize(w io.Writer) (width, height int) {
	if r, ok := w.(results); ok {
		w = r.Writer
	}
	if file, ok := w.(*os.File); ok {
		if width, height, err := term.GetSize(int(file.Fd())); err == nil && width > 0 && height > 0 {
			return width, height
		}
	}
	return 80, 24
}

// Write satisfies io.Writer.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drawn == 0 {
		return s.w.Write(p)
	}
	if _, err := io.WriteString(s.w, s.erase()+string(p)+s.picture()); err != nil {
		return 0, err
	}
	return len(p), nil
}

// results is standard output: what is written there appears above what is drawn, where both go to a
// terminal.
type results struct {
	io.Writer
	screen *screen
}

func (r results) Write(p []byte) (int, error) {
	s := r.screen
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drawn == 0 {
		return r.Writer.Write(p)
	}
	_, _ = io.WriteString(s.w, s.erase())
	n, err := r.Writer.Write(p)
	_, _ = io.WriteString(s.w, s.picture())
	return n, err
}

// show draws the lines of a progress from now on.
func (s *screen) show(p *Progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.shown, p) {
		s.shown = append(s.shown, p)
	}
	_, _ = io.WriteString(s.w, s.erase()+s.picture())
}

// hide takes the lines of a progress away.
func (s *screen) hide(p *Progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.shown, p); i >= 0 {
		s.shown = slices.Delete(s.shown, i, i+1)
		_, _ = io.WriteString(s.w, s.erase()+s.picture())
	}
}

// draw draws the lines anew.
func (s *screen) draw() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.shown) > 0 {
		_, _ = io.WriteString(s.w, s.erase()+s.picture())
	}
}

// leave draws nothing more, and leaves the lines that are there: something else has been written
// below them.
func (s *screen) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown, s.drawn = nil, 0
}

// erase goes back to where the lines begin, and clears what is below.
func (s *screen) erase() string {
	if s.drawn == 0 {
		return ""
	}
	n := s.drawn
	s.drawn = 0
	return fmt.Sprintf("\x1b[%dA\r\x1b[J", n)
}

// picture is the lines as they are drawn: none is as wide as the terminal, which would wrap it, and
// they are at most half as many as it has.
func (s *screen) picture() string {
	if len(s.shown) == 0 {
		return ""
	}
	width, height := s.size()
	var lines []string
	for _, p := range s.shown {
		lines = append(lines, p.lines(width-1)...)
	}
	if most := max(2, height/2); len(lines) > most {
		lines = append(lines[:most-1:most-1], fmt.Sprintf("and %d more", len(lines)-most+1))
	}
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(shorten(line, width-1) + "\n")
	}
	s.drawn = len(lines)
	return b.String()
}
