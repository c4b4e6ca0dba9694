package torture

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// waitingHistory lets weeks pass: before each run all that was written looks a week older, and the room
// says that its runs were a week earlier. In the first weeks the program is killed or stopped,
// environments are pushed before it begins, or while it works if its lockfiles name them. What was
// there or pushed goes in no earlier run than the one behind the next.
func waitingHistory(t *testing.T, program string, store realStore, seed uint64) {
	r, dir := realWorld(t, store, seed)
	start := r.w
	x := rand.New(rand.NewPCG(seed, 8))
	written, gone := map[string]int{}, map[string]bool{} // by hash: in which week
	for hash := range start.oracle.byHash {
		written[hash] = -1
	}
	for week := range 10 {
		age(t, store, week == 0)
		push, env := realPush(r, x), x.IntN(len(r.envs))
		wild := week > 0 && week < 5
		when := ""
		if wild {
			when = []string{"", "before", "meanwhile"}[x.IntN(3)]
		}
		late, kill := time.Duration(x.IntN(300))*time.Millisecond, time.Duration(x.IntN(900))*time.Millisecond
		switch when {
		case "before":
			_ = push.run(t.Context(), realClient{store}, r.w.Graph) // it may die
		case "meanwhile":
			push.specs, push.dieBehind = closure(r.envs[env], false), 0
			r.locked[0][env] = true
			r.writeLock(t, dir, env)
		}
		young(t, store, written, week)
		was, roots := snapshot(t, store, r), r.rootsNow(0)
		pushed := make(chan error, 1)
		go func() {
			if when != "meanwhile" {
				pushed <- nil
				return
			}
			time.Sleep(late)
			pushed <- push.run(t.Context(), realClient{store}, r.w.Graph)
		}()
		fate := "runs"
		if wild {
			fate = []string{"killed", "stopped", "runs"}[x.IntN(3)]
		}
		out, err := prune(t, program, dir, store, fate, kill, "--wait=6d")
		if err != nil && !wild {
			t.Fatalf("week %d: %v\n%s", week, err, out)
		}
		if err := <-pushed; err != nil {
			t.Errorf("week %d: push: %v", week, err)
		}
		if err := store.Delete(t.Context(), []string{ownPrefix + "janitor/lease"}); err != nil { // as if it had run out
			t.Fatal(err)
		}
		now, what := snapshot(t, store, r), fmt.Sprintf("seed %d, week %d, %s, push %s", seed, week, fate, when)
		judge(t, was, now, roots, what)
		if when == "meanwhile" {
			for hash := range hashes(push.specs) {
				if !now.oracle.present(hash) {
					t.Errorf("%s: %s was pushed, is in a lockfile, and is not there", what, hash)
				}
			}
		}
		young(t, store, written, week)
		for hash := range was.oracle.byHash {
			if was.oracle.present(hash) && !now.oracle.present(hash) {
				gone[hash] = true
				if at, ok := written[hash]; ok && week <= at+1 {
					t.Errorf("%s: %s is gone, which was written in week %d", what, hash, at)
				}
			}
		}
		if week == 9 {
			judgeEnd(t, start, now, roots, gone, what)
		}
		t.Log(what)
		if t.Failed() {
			t.Fatalf("the program said:\n%s", out)
		}
	}
}

// realPush draws a push of an environment.
func realPush(r *running, x *rand.Rand) push {
	p := push{specs: closure(r.envs[x.IntN(len(r.envs))], x.IntN(2) == 0), layout: r.Layouts[x.IntN(len(r.Layouts))], signed: r.Signed, force: x.IntN(4) == 0,
		each: time.Duration(x.IntN(30)) * time.Millisecond}
	if x.IntN(3) == 0 {
		p.dieBehind = 1 + x.IntN(12)
	}
	return p
}

// young notes of which specs something was written since the last week.
func young(t *testing.T, store realStore, written map[string]int, week int) {
	t.Helper()
	for o, err := range store.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(o.Key, ownPrefix) || time.Since(o.ModTime) > day {
			continue
		}
		if _, hash := sortKey(o.Key); hash != "" {
			written[strings.Clone(hash)] = week
		}
	}
}

// age lets a week pass, for objects and for the runs in the room. What was there before the first run,
// and what enough runs have seen since it was written, looks older than all of them for good.
func age(t *testing.T, store realStore, first bool) {
	t.Helper()
	now := time.Now()
	times := map[string]time.Time{}
	for o, err := range store.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if at := o.ModTime.Add(-week); !strings.HasPrefix(o.Key, ownPrefix) && now.Sub(at) < 60*day {
			if first || now.Sub(at) > 6*week {
				at = now.Add(-300 * day)
			}
			times[strings.Clone(o.Key)] = at
		}
	}
	for key, at := range times {
		store.setTime(t, key, at)
	}
	const room = ownPrefix + "janitor/room"
	body, _, err := store.Get(t.Context(), room)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	text := agedRoom(t, body)
	if _, err := store.Put(t.Context(), room, bytes.NewReader(text), int64(len(text)), buildcache.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

// agedRoom makes the runs that a room names a week older. Their times stand in its first line.
func agedRoom(t *testing.T, body io.Reader) []byte {
	t.Helper()
	z, err := gzip.NewReader(body)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(z)
	first, err := lines.ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var head map[string]any
	if err := json.Unmarshal(first, &head); err != nil {
		t.Fatal(err)
	}
	for _, run := range head["runs"].([]any) {
		for _, clock := range []string{"ours", "store"} {
			at, err := time.Parse(time.RFC3339, run.(map[string]any)[clock].(string))
			if err != nil {
				t.Fatal(err)
			}
			run.(map[string]any)[clock] = at.Add(-week)
		}
	}
	if first, err = json.Marshal(head); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(lines)
	if err != nil {
		t.Fatal(err)
	}
	return zip(append(append(first, '\n'), rest...))
}

// A realClient is what programs beside the janitor have of a real store.
type realClient struct{ realStore }

func (c realClient) read(ctx context.Context, key string) ([]byte, error) {
	body, _, err := c.Get(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

func (c realClient) write(ctx context.Context, key string, body []byte) error {
	_, err := c.Put(ctx, key, bytes.NewReader(body), int64(len(body)), buildcache.PutOptions{})
	return err
}

func (c realClient) list(ctx context.Context, prefix, suffix string) (keys []string, err error) {
	for o, err := range c.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(o.Key, suffix) {
			keys = append(keys, strings.Clone(o.Key))
		}
	}
	return keys, nil
}

func (realClient) pause(_ context.Context, d time.Duration) error {
	time.Sleep(d)
	return nil
}
