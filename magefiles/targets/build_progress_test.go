package targets

import (
	"bytes"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/podman"
)

func TestProgressOnATerminalIsALineForEachRunningBuild(t *testing.T) {
	var screen bytes.Buffer
	p := &buildProgress{screen: &screen, width: 60, stop: make(chan struct{})}
	p.event(podman.Event{Container: "a", Platform: "linux/amd64", Step: "spack install", Package: "zlib-1.3", Installed: 2, Of: 9})
	p.event(podman.Event{Container: "b", Platform: "linux/arm64", Step: strings.Repeat("long ", 30)})
	if p.drawn != 2 || !strings.Contains(screen.String(), "a linux/amd64  spack install 3 of 9: zlib-1.3\n") {
		t.Errorf("%d lines: %q", p.drawn, screen.String())
	}
	for line := range strings.Lines(screen.String()) {
		line = line[strings.LastIndex(line, "\x1b[J")+1:]
		if len(strings.TrimSpace(line)) > 60 {
			t.Errorf("wider than the terminal: %q", line)
		}
	}
	screen.Reset()
	p.event(podman.Event{Container: "a", Platform: "linux/amd64", Done: true})
	if p.drawn != 1 || !strings.HasPrefix(screen.String(), "\x1b[2A\x1b[J") {
		t.Errorf("%d lines: %q", p.drawn, screen.String())
	}
	p.close()
	if p.drawn != 0 {
		t.Errorf("%d lines stay", p.drawn)
	}
}
