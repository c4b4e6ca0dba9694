package podman

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	memory "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/container"
	"github.com/openbraininstitute/spacktainers/internal/gateway"
	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/registry"
)

// A podmanDouble builds whatever it is told to, which takes no time, and has every base image.
type podmanDouble struct {
	t     *testing.T
	keys  map[string]string // build keys of base images, by name
	fails func(line string) error
	lock  []byte // what it concretizes

	mu     sync.Mutex
	lines  []string
	labels map[string]map[string]string // of images, by tag
}

func (d *podmanDouble) run(ctx context.Context, c command.Cmd) error {
	line := strings.Join(c.Args, " ")
	d.mu.Lock()
	d.lines = append(d.lines, line)
	if slices.Contains(c.Args, "build") {
		d.keepLabels(c.Args)
	}
	d.mu.Unlock()
	if d.fails != nil {
		if err := d.fails(line); err != nil {
			return err
		}
	}
	switch {
	case strings.Contains(line, "image inspect"):
		for name, key := range d.keys {
			if strings.Contains(line, "/"+name+":") {
				_, err := io.WriteString(c.Stdout, "id-of-"+name+" sha256:digest "+key)
				return err
			}
		}
	case strings.Contains(line, " save "):
		d.mu.Lock()
		labels := d.labels[c.Args[len(c.Args)-1]]
		d.mu.Unlock()
		return saveImage(d.t, c.Stdout, d.lock, labels)
	}
	return ctx.Err()
}

func (d *podmanDouble) keepLabels(args []string) {
	labels := map[string]string{}
	for _, arg := range args {
		if label, ok := strings.CutPrefix(arg, "--label="); ok {
			name, value, _ := strings.Cut(label, "=")
			labels[name] = value
		}
		if tag, ok := strings.CutPrefix(arg, "--tag="); ok {
			if d.labels == nil {
				d.labels = map[string]map[string]string{}
			}
			d.labels[tag] = labels
		}
	}
}

func (d *podmanDouble) builds() (found []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, line := range d.lines {
		if strings.HasPrefix(line, "podman build ") {
			found = append(found, line)
		}
	}
	return found
}

// saveImage writes an image as podman save does: with a lockfile, or with nothing in it.
func saveImage(t *testing.T, w io.Writer, lock []byte, labels map[string]string) error {
	config := &v1.ConfigFile{OS: "linux", Architecture: "amd64", RootFS: v1.RootFS{Type: "layers"}, Config: v1.Config{Labels: labels}}
	img, err := mutate.ConfigFile(empty.Image, config)
	if err == nil && lock != nil {
		var layer bytes.Buffer
		archive := tar.NewWriter(&layer)
		_ = archive.WriteHeader(&tar.Header{Name: "spack.lock", Mode: 0o644, Size: int64(len(lock))})
		_, _ = archive.Write(lock)
		_ = archive.Close()
		img, err = mutate.AppendLayers(img, static.NewLayer(layer.Bytes(), types.OCIUncompressedLayer))
	}
	if err != nil {
		return err
	}
	dir := t.TempDir()
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	if err := path.AppendImage(img); err != nil {
		return err
	}
	archive := tar.NewWriter(w)
	if err := archive.AddFS(os.DirFS(dir)); err != nil {
		return err
	}
	return archive.Close()
}

func newScheduler(t *testing.T) (*Scheduler, *podmanDouble) {
	t.Helper()
	dir := t.TempDir()
	g, err := gateway.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	double := &podmanDouble{t: t, keys: map[string]string{}}
	scheduler := &Scheduler{
		Podman: Podman{Run: double.run}, Native: "linux/amd64", Hosts: map[string][]string{"linux/amd64": {Local}},
		Gateway: g, Work: filepath.Join(dir, "work"), Tree: image.Tree(filepath.Join(dir, "images")), Now: time.Now, Bases: map[string][]Base{},
	}
	for _, name := range []string{Builder, Runtime} {
		write(t, filepath.Join(dir, name, "Dockerfile"), "FROM scratch")
		b := Base{Name: name, Platform: "linux/amd64", Files: os.DirFS(filepath.Join(dir, name)), From: "x@sha256:1"}
		scheduler.Bases[b.Platform] = append(scheduler.Bases[b.Platform], b)
		_, key, err := b.Pin(t.Context(), scheduler.Podman)
		if err != nil {
			t.Fatal(err)
		}
		double.keys[name] = key
	}
	return scheduler, double
}

func containersNamed(t *testing.T, names ...string) (containers []Container) {
	for _, name := range names {
		c := hello(t)
		c.Name = name
		containers = append(containers, c)
	}
	return containers
}

func outcomes(results []Result) (list []string) {
	for _, r := range results {
		list = append(list, r.Name+" "+string(r.Outcome))
	}
	return list
}

// Names in podman's storage are those of all checkouts of a machine.
func TestAnImageThatAnotherProcessHasBuiltIsNotTakenForOurs(t *testing.T) {
	s, double := newScheduler(t)
	double.fails = func(line string) error {
		if strings.Contains(line, " save ") {
			double.mu.Lock()
			defer double.mu.Unlock()
			double.labels["localhost/spacktainers/hello-linux-amd64:latest"][image.LabelBuildKey] = "another"
		}
		return nil
	}
	results := s.Build(t.Context(), containersNamed(t, "hello"))
	if err := results[0].Err; err == nil || !strings.Contains(err.Error(), `that of the build key "another"`) {
		t.Errorf("got %v", err)
	}
	if records, err := s.Tree.List(); err != nil || len(records) > 0 {
		t.Errorf("it is kept: %v, %v", records, err)
	}
}

// Regression 17 of the predecessor: a second run writes nothing.
func TestASecondRunBuildsNothing(t *testing.T) {
	scheduler, double := newScheduler(t)
	first := scheduler.Build(t.Context(), containersNamed(t, "a", "b"))
	if got := outcomes(first); !slices.Equal(got, []string{"a built", "b built"}) {
		t.Fatalf("got %v: %v", got, first[0].Err)
	}
	double.lines = nil
	second := scheduler.Build(t.Context(), containersNamed(t, "a", "b"))
	if got := outcomes(second); !slices.Equal(got, []string{"a up to date", "b up to date"}) || len(double.lines) > 0 {
		t.Errorf("got %v, and podman was asked to %q", got, double.lines)
	}
	scheduler.Force = true
	if got := outcomes(scheduler.Build(t.Context(), containersNamed(t, "a"))); !slices.Equal(got, []string{"a built"}) {
		t.Errorf("forced: got %v", got)
	}
	if builds := double.builds(); len(builds) != 1 || !strings.Contains(builds[0], "--no-cache") {
		t.Errorf("forced: podman was asked to %q", builds)
	}
}

// What a build relies on is announced before it begins, and what is not built relies on nothing.
func TestABuildIsAnnouncedBeforeItBegins(t *testing.T) {
	scheduler, double := newScheduler(t)
	var mu sync.Mutex
	announced := map[string]int{} // how many specs
	scheduler.Announce = func(_ context.Context, c Container) {
		mu.Lock()
		defer mu.Unlock()
		announced[c.Name] = len(c.Lock.Specs)
		for _, build := range double.builds() {
			if strings.Contains(build, "/"+c.Name+"-linux") {
				t.Errorf("%s is announced behind %s", c.Name, build)
			}
		}
	}
	scheduler.Build(t.Context(), containersNamed(t, "a"))
	if announced["a"] == 0 {
		t.Errorf("announced %v", announced)
	}
	scheduler.Build(t.Context(), containersNamed(t, "a", "b"))
	if len(announced) != 2 || len(double.builds()) != 2 {
		t.Errorf("announced %v", announced)
	}
	clear(announced)
	if scheduler.Build(t.Context(), containersNamed(t, "a", "b")); len(announced) > 0 {
		t.Errorf("announced what is up to date: %v", announced)
	}
}

func TestAFailureStopsNoOtherBuild(t *testing.T) {
	scheduler, double := newScheduler(t)
	double.fails = func(line string) error {
		if strings.HasPrefix(line, "podman build") && strings.Contains(line, "/a-linux") {
			return errors.New("exit status 1")
		}
		return nil
	}
	results := scheduler.Build(t.Context(), containersNamed(t, "a", "b"))
	if got := outcomes(results); !slices.Equal(got, []string{"a failed", "b built"}) {
		t.Errorf("got %v", got)
	}
	if _, err := scheduler.Tree.Read("a", "linux/amd64"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what failed has a record: %v", err)
	}
}

func TestAHostBuildsAsManyAtATimeAsItIsTold(t *testing.T) {
	scheduler, double := newScheduler(t)
	scheduler.Jobs = map[string]int{Local: 3}
	var mu sync.Mutex
	running, most, together := 0, 0, make(chan struct{})
	double.fails = func(line string) error {
		if !strings.HasPrefix(line, "podman build") {
			return nil
		}
		mu.Lock()
		running++
		if most = max(most, running); running == 3 {
			select {
			case <-together:
			default:
				close(together)
			}
		}
		mu.Unlock()
		defer func() { mu.Lock(); running--; mu.Unlock() }()
		select {
		case <-together:
		case <-time.After(time.Minute):
			return errors.New("no three builds are at work together")
		}
		return nil
	}
	results := scheduler.Build(t.Context(), containersNamed(t, "a", "b", "c", "d", "e", "f"))
	for _, r := range results {
		if r.Outcome != Built {
			t.Errorf("%s: %v", r.Name, r.Err)
		}
	}
	if most != 3 {
		t.Errorf("%d at a time", most)
	}
}

func TestFailFastStopsTheOthers(t *testing.T) {
	scheduler, double := newScheduler(t)
	scheduler.FailFast = true
	double.fails = func(line string) error {
		if strings.HasPrefix(line, "podman build") {
			return errors.New("exit status 1")
		}
		return nil
	}
	results := scheduler.Build(t.Context(), containersNamed(t, "a", "b", "c"))
	got := outcomes(results)
	if builds := double.builds(); len(builds) != 1 || !strings.Contains(strings.Join(got, ", "), "not tried") {
		t.Errorf("%d builds were tried: %v", len(builds), got)
	}
}

func TestAHostThatFailsForAReasonOfItsOwnIsPassed(t *testing.T) {
	scheduler, double := newScheduler(t)
	scheduler.Hosts["linux/amd64"] = []string{"ssh://down", Local}
	double.fails = func(line string) error {
		if strings.HasPrefix(line, "ssh ") {
			return &command.Error{Args: []string{"ssh"}, Tail: "ssh: connect to host down port 22: Connection refused"}
		}
		return nil
	}
	results := scheduler.Build(t.Context(), containersNamed(t, "a"))
	if r := results[0]; r.Outcome != Built || r.Host != Local || len(r.Passed) != 1 || !strings.Contains(r.Passed[0], "no server listens there") {
		t.Errorf("got %+v", r)
	}
	scheduler.Hosts["linux/amd64"], scheduler.Force = []string{"ssh://down"}, true
	if r := scheduler.Build(t.Context(), containersNamed(t, "a"))[0]; r.Outcome != Failed || !strings.Contains(r.Message, "no host can build linux/amd64: host ssh://down") {
		t.Errorf("got %+v", r)
	}
	scheduler.Hosts["linux/amd64"] = nil
	if r := scheduler.Build(t.Context(), containersNamed(t, "a"))[0]; !strings.Contains(r.Message, "name one under platforms in spacktainers.yaml") {
		t.Errorf("got %+v", r)
	}
}

// What a package did wrong it does wrong everywhere.
func TestABuildThatFailsIsNotTriedElsewhere(t *testing.T) {
	scheduler, double := newScheduler(t)
	scheduler.Hosts["linux/amd64"] = []string{Local, Emulate}
	double.fails = func(line string) error {
		if strings.HasPrefix(line, "podman build") {
			return errors.New("exit status 1")
		}
		return nil
	}
	scheduler.Build(t.Context(), containersNamed(t, "a"))
	if builds := double.builds(); len(builds) != 1 {
		t.Errorf("tried %d times", len(builds))
	}
}

// published asks a registry as the targets do.
func published(t *testing.T, prefix string) func(context.Context, image.Record) (*image.Record, error) {
	t.Helper()
	client, err := registry.NewClient(registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context, want image.Record) (*image.Record, error) {
		return client.Published(ctx, registry.Registry{Prefix: prefix}, want)
	}
}

func TestWhatIsPublishedIsNotBuilt(t *testing.T) {
	scheduler, double := newScheduler(t)
	server := httptest.NewServer(memory.New(memory.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	prefix := strings.TrimPrefix(server.URL, "http://") + "/spack-"
	scheduler.Published = published(t, prefix)
	plans, errs := scheduler.Plan(t.Context(), containersNamed(t, "a", "b"))
	if errors.Join(errs...) != nil || plans[0].UpToDate {
		t.Fatalf("got %v, %v", plans, errs)
	}
	publish := func(name string, record image.Record) {
		inputs, err := json.Marshal(record.Inputs)
		if err != nil {
			t.Fatal(err)
		}
		labels := map[string]string{image.LabelBuildKey: record.BuildKey, image.LabelInputs: string(inputs)}
		img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: "amd64", Config: v1.Config{Labels: labels}, RootFS: v1.RootFS{Type: "layers"}})
		if err != nil {
			t.Fatal(err)
		}
		push(t, prefix+name+":1.1", img)
	}
	publish("a", plans[0].Record)
	older := plans[1].Record
	older.BuildKey = "older"
	older.Inputs = slices.Clone(older.Inputs)
	older.Inputs[slices.IndexFunc(older.Inputs, func(in image.Input) bool { return in.Kind == "target" })].Digest = "x86_64"
	publish("b", older)
	plans, errs = scheduler.Plan(t.Context(), containersNamed(t, "a", "b"))
	if errors.Join(errs...) != nil || !plans[0].UpToDate || plans[0].Where != "registry" || plans[1].UpToDate {
		t.Fatalf("got %+v, %v", plans, errs)
	}
	if got := plans[1].Changes; !slices.ContainsFunc(got, func(c container.Change) bool { return c.String() == "target: x86_64 → x86_64_v3" }) {
		t.Errorf("got %v", got)
	}
	if len(double.builds()) > 0 {
		t.Errorf("a plan builds: %v", double.builds())
	}
	var mu sync.Mutex
	var notes []string
	scheduler.Watch = func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Note != "" {
			notes = append(notes, e.Container+": "+e.Note)
		}
	}
	results := scheduler.Build(t.Context(), containersNamed(t, "a", "b"))
	if want := []string{"a up to date", "b built"}; !slices.Equal(outcomes(results), want) {
		t.Errorf("got %v", outcomes(results))
	}
	if want := []string{"b: a release needs another version than 1.1, which is published, or publish --force"}; !slices.Equal(notes, want) {
		t.Errorf("before it is built one hears %q", notes)
	}
}

// An index without our platform has nothing for us, and whoever asks for any image of it gets
// another platform's.
func TestAnotherPlatformsImageIsNotTakenForOurs(t *testing.T) {
	server := httptest.NewServer(memory.New(memory.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	prefix := strings.TrimPrefix(server.URL, "http://") + "/"
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: "arm64", RootFS: v1.RootFS{Type: "layers"}})
	if err != nil {
		t.Fatal(err)
	}
	push(t, prefix+"single:1.1", img)
	ref, err := name.ParseReference(prefix + "index:1.1")
	if err != nil {
		t.Fatal(err)
	}
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}})
	if err := remote.WriteIndex(ref, index); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"single", "index", "nothing"} {
		for platform, want := range map[string]bool{"linux/amd64": false, "linux/arm64": name != "nothing"} {
			found, err := published(t, prefix)(t.Context(), image.Record{Name: name, Version: "1.1", Platform: platform})
			if err != nil || (found != nil) != want {
				t.Errorf("%s for %s: got %v, %v", name, platform, found, err)
			}
		}
	}
}

func push(t *testing.T, ref string, img v1.Image) {
	t.Helper()
	parsed, err := name.ParseReference(ref)
	if err == nil {
		err = remote.Write(parsed, img)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestARegistryThatCannotBeAskedIsAnError(t *testing.T) {
	scheduler, _ := newScheduler(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer server.Close()
	scheduler.Published = published(t, strings.TrimPrefix(server.URL, "http://")+"/spack-")
	plans, errs := scheduler.Plan(t.Context(), containersNamed(t, "a"))
	if errs[0] == nil {
		t.Errorf("taken for missing: %+v", plans[0])
	}
}

func TestASaveThatBreaksOffLeavesWhatWasThere(t *testing.T) {
	scheduler, double := newScheduler(t)
	before := scheduler.Build(t.Context(), containersNamed(t, "a"))[0]
	double.fails = func(line string) error {
		if strings.Contains(line, " save ") {
			return errors.New("signal: killed")
		}
		return nil
	}
	scheduler.Force = true
	if r := scheduler.Build(t.Context(), containersNamed(t, "a"))[0]; r.Outcome != Failed {
		t.Fatalf("got %+v", r)
	}
	record, err := scheduler.Tree.Read("a", "linux/amd64")
	if err != nil || record.Digest != before.Record.Digest {
		t.Errorf("got %v, %v", record, err)
	}
	if _, err := scheduler.Tree.Open(record); err != nil {
		t.Error(err)
	}
}
