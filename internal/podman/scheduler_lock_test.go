package podman

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
)

// unlocked are containers that bring no lockfile, for a scheduler whose builder has a Spack.
func unlocked(t *testing.T, s *Scheduler, names ...string) []Container {
	t.Helper()
	for i := range s.Bases["linux/amd64"] {
		if b := &s.Bases["linux/amd64"][i]; b.Name == Builder {
			b.Spack = &Source{URL: "https://example.org/spack", Ref: strings.Repeat("c", 40)}
		}
	}
	containers := containersNamed(t, names...)
	for i := range containers {
		c := &containers[i]
		c.Lock, c.LockText, c.Spack = nil, nil, []byte("spack: {specs: ["+c.Name+"]}")
	}
	return containers
}

func (d *podmanDouble) concretizations() (n int) {
	for _, line := range d.builds() {
		if strings.Contains(line, "STEP=lock") {
			n++
		}
	}
	return n
}

// One concretization for each container and platform: the plan's is the build's, and a later run's.
func TestConcretizingHappensOnce(t *testing.T) {
	scheduler, double := newScheduler(t)
	double.lock = hello(t).LockText
	containers := unlocked(t, scheduler, "a", "b")
	if _, errs := scheduler.Plan(t.Context(), containers); errors.Join(errs...) != nil || double.concretizations() != 2 {
		t.Fatalf("%d times: %v", double.concretizations(), errs)
	}
	for _, r := range scheduler.Build(t.Context(), containers) {
		if r.Outcome != Built || r.Record.Concretization == "" {
			t.Errorf("got %+v", r)
		}
	}
	if n := double.concretizations(); n != 2 {
		t.Errorf("concretized %d times", n)
	}
	installed, err := os.ReadFile(scheduler.Tree.LockFile("a", "linux/amd64"))
	if err != nil || !bytes.Equal(installed, double.lock) {
		t.Errorf("another lockfile was installed: %v", err)
	}
	scheduler.Anew = true
	if _, errs := scheduler.Lock(t.Context(), containers[:1]); errors.Join(errs...) != nil || double.concretizations() != 3 {
		t.Errorf("anew: %d times: %v", double.concretizations(), errs)
	}
}

// What others have published for the same key is taken, before what is here, so that all build the
// same.
func TestAPublishedLockfileIsTaken(t *testing.T) {
	scheduler, double := newScheduler(t)
	lock := hello(t).LockText
	published := bytes.Replace(lock, []byte(`"_meta"`), []byte(` "_meta"`), 1)
	double.lock = lock
	containers := unlocked(t, scheduler, "a", "b", "c")
	if _, errs := scheduler.Lock(t.Context(), containers[:1]); errors.Join(errs...) != nil { // a has one here already
		t.Fatal(errs)
	}
	var notes []Event
	var mu sync.Mutex
	scheduler.Watch = func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Note != "" {
			notes = append(notes, e)
		}
	}
	scheduler.Locked = func(_ context.Context, c Container, key string) ([]byte, error) {
		if len(key) != 64 {
			return nil, fmt.Errorf("key %q", key)
		}
		return map[string][]byte{"a": published, "b": published, "c": []byte("{}")}[c.Name], nil
	}
	locked, errs := scheduler.Lock(t.Context(), containers)
	if errors.Join(errs...) != nil {
		t.Fatal(errs)
	}
	for i, want := range [][]byte{published, published, lock} {
		if !bytes.Equal(locked[i].LockText, want) || locked[i].Concretization == "" {
			t.Errorf("%s: got another lockfile", locked[i].Name)
		}
	}
	if n := double.concretizations(); n != 2 || len(notes) != 1 || notes[0].Container != "c" {
		t.Errorf("concretized %d times, %v", n, notes)
	}
	scheduler.Locked = func(context.Context, Container, string) ([]byte, error) { return nil, errors.New("who asks") }
	if _, errs := scheduler.Plan(t.Context(), containers[:1]); errs[0] == nil || !strings.Contains(errs[0].Error(), "who asks") {
		t.Errorf("a registry that cannot be asked: %v", errs[0])
	}
}

// As many containers are concretized at a time as the host has places, and base images are made
// once meanwhile.
func TestSeveralContainersAreConcretizedAtATime(t *testing.T) {
	scheduler, double := newScheduler(t)
	double.lock = hello(t).LockText
	containers := unlocked(t, scheduler, "a", "b", "c", "d", "e", "f", "g", "h", "i", "j")
	places := scheduler.placesOf(concretizing, Local)
	var mu sync.Mutex
	at, most := 0, 0
	full := make(chan struct{})
	double.fails = func(line string) error {
		if !strings.Contains(line, "STEP=lock") {
			return nil
		}
		mu.Lock()
		if at++; at > most {
			if most = at; most == places {
				close(full)
			}
		}
		mu.Unlock()
		<-full // the first ones wait for each other
		mu.Lock()
		at--
		mu.Unlock()
		return nil
	}
	if _, errs := scheduler.Plan(t.Context(), containers); errors.Join(errs...) != nil {
		t.Fatal(errs)
	}
	bases := 0
	for _, line := range double.builds() {
		if strings.Contains(line, "spacktainers/"+Builder+":") {
			bases++
		}
	}
	if most != places || bases > 1 {
		t.Errorf("%d at a time, want %d; %d builders", most, places, bases)
	}
}

// What only the image is made of does not ask for other packages; an input of the concretization
// does.
func TestTheKeyOfALockfileFollowsSpack(t *testing.T) {
	scheduler, double := newScheduler(t)
	double.lock = hello(t).LockText
	containers := unlocked(t, scheduler, "a")
	if _, errs := scheduler.Lock(t.Context(), containers); errs[0] != nil {
		t.Fatal(errs)
	}
	other, _ := newScheduler(t)
	other.Podman, other.Bases, other.Work = scheduler.Podman, scheduler.Bases, scheduler.Work
	containers[0].Epilogue = []byte("RUN true")
	if _, errs := other.Lock(t.Context(), containers); errs[0] != nil || double.concretizations() != 1 {
		t.Errorf("with another epilogue: %d, %v", double.concretizations(), errs)
	}
	next, _ := newScheduler(t)
	next.Podman, next.Work = scheduler.Podman, scheduler.Work
	containers = unlocked(t, next, "a")
	for i := range next.Bases["linux/amd64"] {
		if b := &next.Bases["linux/amd64"][i]; b.Spack != nil {
			b.Spack = &Source{URL: b.Spack.URL, Ref: strings.Repeat("d", 40)}
		}
	}
	if _, errs := next.Lock(t.Context(), containers); errs[0] != nil || double.concretizations() != 2 {
		t.Errorf("with another Spack: %d, %v", double.concretizations(), errs)
	}
}
