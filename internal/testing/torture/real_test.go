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
	url     string
	env     []string
	setTime func(t *testing.T, key string, at time.Time) // nil: a file is as young as its birth
}

// TestRealHistories has the real program work on real stores. It is killed, or stopped for a while,
// at random. Every second history does not wait (--wait=0), in the others weeks pass where a
// store's times can be set: see waitingHistory. Whatever happened, what the lockfiles need is whole
// after each run, and some more runs leave no garbage and an index that is right.
func TestRealHistories(t *testing.T) {
	size.Need(t, size.All)
	program := buildProgram(t)
	stores := map[string]func(t *testing.T) realStore{"folder": func(t *testing.T) realStore {
		dir := t.TempDir()
		return realStore{file.New(dir), file.New(dir), dir, nil, nil}
	}}
	for _, server := range s3test.All(t) {
		stores[server.Name] = func(t *testing.T) realStore { return bucketOf(t, server) }
	}
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(size.Pick(0, 10, 300)) {
				seed += *firstSeed
				t.Run(fmt.Sprint(seed), func(t *testing.T) {
					if store := open(t); seed%2 == 1 && store.setTime != nil {
						waitingHistory(t, program, store, seed)
					} else {
						realHistory(t, program, store, seed)
					}
				})
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
	bucket := server.NewBucket(t)
	url := "s3://" + bucket
	store, err := s3.Open(t.Context(), url, s3.Options{Endpoint: server.Endpoint, PathStyle: true, Region: "us-east-1", Credentials: s3.Keys(server.AccessKey, server.SecretKey, "")})
	if err != nil {
		t.Fatal(err)
	}
	return realStore{store, store, url, []string{"AWS_ENDPOINT_URL=" + server.Endpoint, "AWS_REGION=us-east-1",
		"AWS_CACHE_ACCESS_KEY_ID=" + server.AccessKey, "AWS_CACHE_SECRET_ACCESS_KEY=" + server.SecretKey},
		func(t *testing.T, key string, at time.Time) { server.SetModTime(t, bucket, key, at) }}
}

func realHistory(t *testing.T, program string, store realStore, seed uint64) {
	r, dir := realWorld(t, store, seed)
	w, roots := r.w, r.rootsNow(0)
	x := rand.New(rand.NewPCG(seed, 7))
	filled := time.Now()
	for round := range 5 {
		fate := "runs"
		if round < 3 {
			fate = []string{"killed", "stopped"}[x.IntN(2)]
		} else { // the store tells its time in whole seconds: by that nothing is young any more
			time.Sleep(time.Until(filled.Add(2 * time.Second)))
		}
		out, err := prune(t, program, dir, store, fate, time.Duration(x.IntN(700))*time.Millisecond, "--wait=0", "--even-if-written", "--grace=1ms")
		if round >= 3 && err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, out)
		}
		if err := store.Delete(t.Context(), []string{ownPrefix + "janitor/lease"}); err != nil { // as if it had run out
			t.Fatal(err)
		}
		when, now := fmt.Sprintf("seed %d, round %d, %s", seed, round, fate), snapshot(t, store, r)
		judge(t, w, now, roots, when)
		if round == 4 {
			judgeEnd(t, w, now, roots, nil, when)
		}
		if t.Failed() {
			t.Fatalf("the program said:\n%s", out)
		}
	}
}

// realWorld fills a store with a cache, and a folder with the lockfiles of a repository.
func realWorld(t *testing.T, store realStore, seed uint64) (r *running, dir string) {
	t.Helper()
	h := Draw(seed)
	h.Repos, h.Rules, h.Skew, h.Jump = 1, Rules{}, 0, 0
	r = &running{History: h, w: newWorld(h.Setting, graphOf(h.Setting), nil), memories: make([]any, 1), pinned: make([][]string, 1)}
	r.populate()
	for key, o := range r.w.bucket.objects {
		if _, err := store.Put(t.Context(), key, bytes.NewReader(o.body), int64(len(o.body)), buildcache.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	dir = t.TempDir()
	for i := range r.locked[0] {
		r.writeLock(t, dir, i)
	}
	if err := os.WriteFile(filepath.Join(dir, "spacktainers.yaml"), []byte("janitor: {name: torture}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return r, dir
}

func (r *running) writeLock(t *testing.T, dir string, env int) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("env%d.spack.lock", env)), lockfile(r.envs[env], 5), 0o644); err != nil {
		t.Fatal(err)
	}
}

// prune runs the program, and kills or stops it after a while.
func prune(t *testing.T, program, dir string, store realStore, fate string, after time.Duration, flags ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, append([]string{"janitor:prune", "--mirror=" + store.url, "--lock=*.spack.lock",
		"--max-age=0", "--keep-last=0", "--settle=200ms", "--max-fraction=1", "--yes"}, flags...)...)
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

// snapshot reads all that a store holds into a world of its own, as old as it likes to be. What a
// program that was killed had sent may still be under way: where it changes what is read, all is
// read again.
func snapshot(t *testing.T, store realStore, r *running) *World {
	t.Helper()
	for try := 1; ; try++ {
		w, err := readAll(t.Context(), store, r)
		if err == nil {
			return w
		}
		if !errors.Is(err, fs.ErrNotExist) || try == 10 {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func readAll(ctx context.Context, store realStore, r *running) (*World, error) {
	w := newWorld(r.Setting, r.w.Graph, nil)
	w.unknown, w.unnamed = r.w.unknown, r.w.unnamed
	for o, err := range store.List(ctx, "") {
		if err != nil {
			return nil, err
		}
		key := strings.Clone(o.Key)
		text, err := get(ctx, store, key)
		if err != nil {
			return nil, err
		}
		w.place(key, text, 60*day)
	}
	return w, nil
}

func get(ctx context.Context, store buildcache.Store, key string) ([]byte, error) {
	body, _, err := store.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}
