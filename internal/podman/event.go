package podman

import (
	"bytes"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// An Event says how far a build is.
type Event struct {
	Container string
	Platform  string
	Step      string // what podman or Spack does: STEP 3/7: COPY …, install, test, save
	Package   string // that Spack installs
	Installed int    // packages
	Of        int    // packages in all; 0 if unknown
	Note      string // what a person should know; then there is nothing else
	Done      bool   // there is no more to tell
}

func (e Engine) tell(c Container, ev Event) {
	if e.Watch != nil {
		ev.Container, ev.Platform = c.Name, c.Platform
		e.Watch(ev)
	}
}

// event returns what turns lines of a build's log into events.
func (e Engine) event(c Container) func(line string) {
	of := 0
	if c.Lock != nil {
		for _, spec := range c.Lock.Specs {
			if !spec.External {
				of++
			}
		}
	}
	done := 0
	return func(line string) {
		now := installingNow.FindStringSubmatch(line)
		switch step, pkg := podmanStep.FindStringSubmatch(line), installing.FindStringSubmatch(line); {
		case step != nil:
			e.tell(c, Event{Step: step[1], Installed: done, Of: of})
		case pkg != nil:
			ev := Event{Step: "spack install", Package: pkg[1], Installed: done, Of: of}
			if len(pkg) > 3 && pkg[3] != "" {
				ev.Of, _ = strconv.Atoi(pkg[3])
			}
			e.tell(c, ev)
		case strings.HasPrefix(line, "[+] "):
			done++
		case now != nil:
			e.tell(c, Event{Step: "spack install", Package: now[1] + "-" + now[2], Installed: done, Of: of})
		}
	}
}

var (
	podmanStep = regexp.MustCompile(`^(?:\[\d+/\d+\] )?STEP \d+/\d+: (\w+)`)
	installing = regexp.MustCompile(`^==> Installing (\S+)-[a-z2-7]{32}(?: \[(\d+)/(\d+)\])?$`)
	// What the installer of Spack 1.2 says, which works on several packages at a time.
	installingNow = regexp.MustCompile(`^\[ \] [a-z2-7]{7,32} (\S+?)@(\S+) `)
)

// A watcher writes to the log, and shows each line to event.
type watcher struct {
	log   io.Writer
	event func(string)
	rest  []byte
}

func (w *watcher) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		line, rest, found := bytes.Cut(w.rest, []byte("\n"))
		if !found {
			break
		}
		w.event(strings.TrimRight(string(line), "\r"))
		w.rest = rest
	}
	return w.log.Write(p)
}
