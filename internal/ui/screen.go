package ui

import (
	"fmt"
	"io"
	"os"
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
	lines func(width int) []string // what is to be drawn; nil: nothing
	drawn int                      // how many lines are there
}

func newScreen(w io.Writer) *screen {
	return &screen{w: w, size: func() (int, int) { return terminalSize(w) }}
}

// terminalSize is that of a terminal, with what is usual where it does not tell.
func terminalSize(w io.Writer) (width, height int) {
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

// show draws the lines that a function returns from now on; nil ends that and clears them.
func (s *screen) show(lines func(width int) []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = lines
	_, _ = io.WriteString(s.w, s.erase()+s.picture())
}

// draw draws the lines anew.
func (s *screen) draw() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lines != nil {
		_, _ = io.WriteString(s.w, s.erase()+s.picture())
	}
}

// leave draws nothing more, and leaves the lines that are there: something else has been written
// below them.
func (s *screen) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines, s.drawn = nil, 0
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
	if s.lines == nil {
		return ""
	}
	width, height := s.size()
	lines := s.lines(width - 1)
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
