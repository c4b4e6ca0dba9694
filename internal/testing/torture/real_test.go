package torture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/file"
	"github.com/openbraininstitute/spacktainers/buildcache/s3"
	"github.com/openbraininstitute/spacktainers/internal/testing/s3test"
	"github.com/openbraininstitute/spacktainers/internal/testing/size"
)

// A realStore is a mirror that programs of their own processes work on.
type realStore struct {
	buildcache.Store
	buildcache.Writer
	url string
	env []string
}

// TestRealHistories has the real program work on real stores. It is killed, or stopped for a while, at random; nothing
// waits (--wait=0), since neither folders nor these servers let a test make everything look old. Whatever happened, what
// the lockfiles need is whole after each run, and two more runs leave no garbage and an index that is right.
func TestRealHistories(t *testing.T) {
	size.Need(t, size.All)
	program := buildProgram(t)
	stores := map[string]func(t *testing.T) realStore{"folder": func(t *testing.T) realStore {
		dir := t.TempDir()
		return realStore{file.New(dir), file.New(dir), dir, nil}
	}}
	for _, server := range s3test.All(t) {
		stores[server.Name] = func(t *testing.T) realStore { return bucketOf(t, server) }
	}
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(size.Pick(0, 10, 300)) {
				t.Run(fmt.Sprint(*firstSeed+seed), func(t *testing.T) { realHistory(t, program, open(t), *firstSeed+seed) })
			}
		})
	}
}

func buildProgram(t *testing.T) string {
	t.Helper()
	if *program != "" {
		return *program
	}
	program := filepath.Join(t.TempDir(), "spacktainers")
	cmd := exec.CommandContext(t.Context(), "go", "tool", "mage", "-compile", program)
	cmd.Dir = "../../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mage -compile: %v\n%s", err, out)
	}
	return program
}

func bucketOf(t *testing.T, server *s3test.Server) realStore {
	t.Helper()
	url := "s3://" + server.NewBucket(t)
	store, err := s3.Open(t.Context(), url, s3.Options{Endpoint: server.Endpoint, PathStyle: true, Region: "us-east-1", Credentials: s3.Keys(server.AccessKey, server.SecretKey, "")})
	if err != nil {
		t.Fatal(err)
	}
	return realStore{store, store, url, []string{"AWS_ENDPOINT_URL=" + server.Endpoint, "AWS_REGION=us-east-1",
		"AWS_CACHE_ACCESS_KEY_ID=" + server.AccessKey, "AWS_CACHE_SECRET_ACCESS_KEY=" + server.SecretKey}}
}

func realHistory(t *testing.T, program string, store realStore, seed uint64) {
	h := Draw(seed)
	h.Repos, h.Rules, h.Skew, h.Jump = 1, Rules{}, 0, 0
	w := newWorld(h.Setting, graphOf(h.Setting), nil)
	r := &running{History: h, w: w, memories: make([]any, 1), pinned: make([][]string, 1)}
	r.populate()
	for key, o := range w.bucket.objects {
		if _, err := store.Put(t.Context(), key, bytes.NewReader(o.body), int64(len(o.body)), buildcache.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	var roots []*Spec
	for i := range r.locked[0] {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("env%d.spack.lock", i)), lockfile(r.envs[i], 5), 0o644); err != nil {
			t.Fatal(err)
		}
		roots = append(roots, r.envs[i]...)
	}
	if err := os.WriteFile(filepath.Join(dir, "spacktainers.yaml"), []byte("janitor: {name: torture}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	x := rand.New(rand.NewPCG(seed, 7))
	for round := range 5 {
		fate := "runs"
		if round < 3 {
			fate = []string{"killed", "stopped"}[x.IntN(2)]
		}
		out, err := prune(t, program, dir, store, fate, time.Duration(x.IntN(700))*time.Millisecond)
		if round >= 3 && err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, out)
		}
		if err := store.Delete(t.Context(), []string{ownPrefix + "janitor/lease"}); err != nil { // as if it had run out
			t.Fatal(err)
		}
		judge(t, w, snapshot(t, store, h.Setting), roots, round == 4, fmt.Sprintf("seed %d, round %d, %s", seed, round, fate))
		if t.Failed() {
			t.Fatalf("the program said:\n%s", out)
		}
	}
}

// prune runs the program, and kills or stops it after a while.
func prune(t *testing.T, program, dir string, store realStore, fate string, after time.Duration) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, "janitor:prune", "--mirror="+store.url, "--lock=*.spack.lock", "--wait=0", "--even-if-written",
		"--grace=1ms", "--max-age=0", "--keep-last=0", "--settle=200ms", "--max-fraction=1", "--yes")
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "HOME="+dir, "NO_COLOR=1"), store.env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	switch fate {
	case "killed":
		time.Sleep(after)
		_ = cmd.Process.Kill()
	case "stopped":
		time.Sleep(after)
		_ = cmd.Process.Signal(syscall.SIGSTOP)
		time.Sleep(300 * time.Millisecond)
		_ = cmd.Process.Signal(syscall.SIGCONT)
	}
	err := cmd.Wait()
	return out.String(), err
}

// snapshot reads all that a store holds into a world of its own, as old as it likes to be.
func snapshot(t *testing.T, store realStore, s Setting) *World {
	t.Helper()
	w := newWorld(s, graphOf(s), nil)
	for o, err := range store.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		w.place(strings.Clone(o.Key), get(t.Context(), t, store, o.Key), 60*day)
	}
	return w
}

func get(ctx context.Context, t *testing.T, store buildcache.Store, key string) []byte {
	t.Helper()
	body, _, err := store.Get(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%s is listed and not there", key)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// judge compares what is there with what was there at the start.
func judge(t *testing.T, start, now *World, roots []*Spec, last bool, when string) {
	t.Helper()
	for hash := range hashes(closure(roots, false)) {
		for key, o := range start.oracle.objects(hash, true) {
			if n := now.bucket.objects[key]; n == nil || n.etag != o.etag {
				t.Errorf("%s: %s is gone, which a lockfile needs", when, key)
			}
		}
	}
	for key, o := range start.bucket.objects {
		if k, _ := sortKey(key); (k == foreign || k == otherManifest && !strings.Contains(key, "/index/")) && (now.bucket.objects[key] == nil || now.bucket.objects[key].etag != o.etag) {
			t.Errorf("%s: %s was changed, and is none of its business", when, key)
		}
	}
	for hash := range now.oracle.byHash {
		if s, _ := now.oracle.spec(hash); s != nil {
			for need := range s.needs {
				if start.oracle.present(need) && !now.oracle.present(need) {
					t.Errorf("%s: %s lacks %s", when, hash, need)
				}
			}
		}
		for key, o := range now.oracle.byHash[hash] {
			for _, b := range read(o, "manifest").manifest.named() {
				if now.bucket.objects[b] == nil {
					t.Errorf("%s: %s lacks %s", when, key, b)
				}
			}
		}
	}
	for key, named := range now.oracle.indexes {
		for hash := range named {
			if !now.oracle.inLayout(hash, key) {
				t.Errorf("%s: %s names %s, which is not there", when, key, hash)
			}
		}
		if named == nil {
			t.Errorf("%s: %s cannot be read", when, key)
		}
	}
	if !last {
		return
	}
	now.oracle.final(roots)
	for _, b := range now.oracle.broken {
		t.Errorf("%s: %s: %s", when, b.Promise, b.What)
	}
	for key, before := range start.oracle.indexes {
		for hash := range before {
			if now.oracle.inLayout(hash, key) && !now.oracle.indexes[key][hash] {
				t.Errorf("%s: %s has lost %s, which is there", when, key, hash)
			}
		}
	}
	if slices.Equal(start.bucket.keys, now.bucket.keys) {
		t.Errorf("%s: nothing has happened at all", when)
	}
}
