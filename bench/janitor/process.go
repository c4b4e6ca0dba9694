package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache/s3"
)

// A step is what a process is to do. It is told so by its arguments.
type step struct {
	Do       string // a key of steps
	Mirror   string
	Endpoint string
	Key      string // of the server's, as is the next one
	Secret   string
	Layout   int
	Lock     string        // file
	MaxAge   time.Duration // what is younger stays
	Known    string        // file of the manifests that were read before
	File     string        // what else is to be read
}

// A report is what a step says of itself when it is done.
type report struct {
	Requests map[string]int
	In, Out  int64
	Peak     int64
	Objects  int // listed or deleted
	Gone     int // specs
}

// steps are all that a process can do here.
var steps = map[string]func(context.Context, step, *s3.Store, *report) error{
	"list": list, "list in shards": listInShards, "index": readIndex, "list+index": listAndIndex,
	"plan": plan, "condemn": condemn, "prune": prune, "reindex": reindex,
	"parse":       parse,
	"predecessor": predecessor, "spack prune": spackPrune, "spack update-index": spackUpdateIndex,
}

// measure runs a step as a process of its own.
func (b *bench) measure(ctx context.Context, s step, f *Figures) error {
	s.Endpoint, s.Key, s.Secret = b.server.Endpoint, b.server.AccessKey, b.server.SecretKey
	self, err := os.Executable()
	if err != nil {
		return err
	}
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	var out, problem bytes.Buffer
	cmd := exec.CommandContext(ctx, self, "step", string(text))
	cmd.Stdout, cmd.Stderr = &out, &problem
	start := time.Now()
	err = cmd.Run()
	f.Wall = time.Since(start).Seconds()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", f.Step, err, strings.TrimSpace(problem.String()))
	}
	f.CPU = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return fmt.Errorf("%s: %w", f.Step, err)
	}
	f.Peak, f.Requests, f.In, f.Out, f.Objects, f.Gone, f.Total = r.Peak, r.Requests, r.In, r.Out, r.Objects, r.Gone, 0
	for _, n := range f.Requests {
		f.Total += n
	}
	return nil
}

// child does a step, and reports on standard output.
func child(text string) int {
	debug.SetGCPercent(20) // as the janitor's targets do
	r, err := do(context.Background(), text)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(r)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func do(ctx context.Context, text string) (*report, error) {
	var s step
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return nil, err
	}
	work, ok := steps[s.Do]
	if !ok {
		return nil, fmt.Errorf("no step %q", s.Do)
	}
	store, err := s3.Open(ctx, s.Mirror, s3.Options{Endpoint: s.Endpoint, PathStyle: true, Credentials: s3.Keys(s.Key, s.Secret, "")})
	if err != nil {
		return nil, err
	}
	r := &report{Requests: map[string]int{}}
	if err := work(ctx, s, store, r); err != nil {
		return nil, err
	}
	for kind := s3.List; kind <= s3.Delete; kind++ {
		if n := store.Requests().Of(kind); n > 0 {
			r.Requests[kind.String()] = n
		}
	}
	r.In, r.Out = store.Requests().Bytes()
	r.Peak = peak()
	return r, nil
}

// peak returns the greatest memory of this process, where the system tells.
// What a process is told of a child, ru_maxrss, is no less than the parent's
// own at the time of the fork.
func peak() int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		var kilobytes int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kilobytes); n == 1 {
			return kilobytes << 10
		}
	}
	return 0
}
