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
	Step      string // what goes on, in words: installing, testing the container
	Package   string // that is installed; empty: only how many are is told
	Installed int    // packages that are
	Of        int    // packages in all; 0 if unknown
	Note      string // what a person should know; then there is nothing else
	Done      bool   // there is no more to tell
}

// The steps of a build.
const (
	stepBase      = "looking for the base image"
	stepBootstrap = "bootstrapping Debian"
	stepFetch     = "bootstrapping Debian: downloading packages"
	stepUnpack    = "bootstrapping Debian: unpacking"
	stepEssential = "bootstrapping Debian: installing packages"
	stepArchive   = "bootstrapping Debian: writing the system"
	stepSources   = "fetching Spack and its package repositories"
	stepDownload  = "downloading system packages"
	stepSystem    = "installing system packages"
	stepSetup     = "setting up Spack"
	stepPrepare   = "preparing"
	stepSolve     = "concretizing"
	stepInstall   = "installing"
	stepImage     = "putting the container together"
	stepTest      = "testing the container"
	stepSave      = "saving the container"
)

func (e Engine) tell(c Container, ev Event) {
	if e.Watch != nil {
		ev.Container, ev.Platform = c.Name, c.Platform
		e.Watch(ev)
	}
}

// event returns what turns lines of a build's log into events: podman's, for a Dockerfile of two
// stages, and Spack's.
func (e Engine) event(c Container, step string) func(line string) {
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
		step1, pkg, now := podmanStep.FindStringSubmatch(line), installing.FindStringSubmatch(line), installingNow.FindStringSubmatch(line)
		switch {
		case step1 != nil:
			e.tell(c, Event{Step: stepOf(step1[1], step1[2], step)})
		case pkg != nil:
			ev := Event{Step: stepInstall, Package: pkg[1], Installed: done, Of: of}
			if len(pkg) > 3 && pkg[3] != "" {
				number, _ := strconv.Atoi(pkg[2])
				ev.Installed = max(0, number-1)
				ev.Of, _ = strconv.Atoi(pkg[3])
			}
			e.tell(c, ev)
		case strings.HasPrefix(line, "[+] "):
			done++
		case now != nil:
			e.tell(c, Event{Step: stepInstall, Package: now[1] + "-" + now[2], Installed: done, Of: of})
		}
	}
}

// stepOf puts a step of podman's into words. Its stages are those of our Dockerfiles: the builder, in
// which Spack works, and the image.
func stepOf(stage, instruction, step string) string {
	switch {
	case stage == "2":
		return stepImage
	case instruction != "RUN":
		return stepPrepare
	case step == "lock":
		return stepSolve
	}
	return stepInstall
}

var (
	podmanStep = regexp.MustCompile(`^(?:\[(\d+)/\d+\] )?STEP \d+/\d+: (\w+)`)
	// What Spack says up to 1.1, of which 0.21 and older do not count.
	installing = regexp.MustCompile(`^==> Installing (\S+)-[a-z2-7]{32}(?: \[(\d+)/(\d+)\])?$`)
	// What the installer of Spack 1.2 says, which works on several packages at a time.
	installingNow = regexp.MustCompile(`^\[ \] [a-z2-7]{7,32} (\S+?)@(\S+) `)
)

// baseEvent returns what turns lines of a base image's log into events: podman's, and apt's.
func (b Base) baseEvent() func(line string) {
	of, done := 0, 0
	return func(line string) {
		step, total, set := podmanStep.FindStringSubmatch(line), aptTotal.FindStringSubmatch(line), aptSets.FindStringSubmatch(line)
		switch {
		case step != nil && done > 0 && step[2] == "RUN":
			b.tell(Event{Step: stepSetup})
		case step != nil && done == 0:
			b.tell(Event{Step: stepPrepare})
		case total != nil:
			of, _ = strconv.Atoi(total[1])
			b.tell(Event{Step: stepDownload})
		case set != nil:
			done++
			b.tell(Event{Step: stepSystem, Installed: done, Of: of}) // a hundred lines of log would tell no more
		}
	}
}

// bootstrapEvent returns what turns lines of mmdebstrap into events: its own, and those of apt and
// dpkg in it. It installs twice, and learns only then of how many packages the second time.
func (b Base) bootstrapEvent() func(line string) {
	fetching, of, fetched, done := false, 0, 0, 0
	return func(line string) {
		total := aptTotal.FindStringSubmatch(line)
		switch {
		case strings.HasPrefix(line, "I: downloading packages"):
			fetching = true
		case strings.HasPrefix(line, "I: extracting archives"):
			b.tell(Event{Step: stepUnpack})
		case strings.HasPrefix(line, "I: creating tarball"):
			b.tell(Event{Step: stepArchive})
		case total != nil:
			more, _ := strconv.Atoi(total[1])
			of += more
		case fetching && strings.HasPrefix(line, "Get:"):
			fetched++
			b.tell(Event{Step: stepFetch, Installed: min(fetched, of), Of: of})
		case aptSets.MatchString(line):
			done++
			b.tell(Event{Step: stepEssential, Installed: min(done, of), Of: of})
		}
	}
}

var (
	aptTotal = regexp.MustCompile(`^\d+ upgraded, (\d+) newly installed, `)
	aptSets  = regexp.MustCompile(`^Setting up (\S+) \(`)
)

func (b Base) tell(ev Event) {
	if b.Watch != nil {
		ev.Container, ev.Platform = "base image "+b.Name, b.Platform
		b.Watch(ev)
	}
}

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
