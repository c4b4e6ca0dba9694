package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/testing/s3test"
	"github.com/openbraininstitute/spacktainers/internal/testing/size"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "step" {
		os.Exit(child(os.Args[2]))
	}
	os.Exit(m.Run())
}

// It is for people and measures; but it must run, and its own checks hold.
func TestEveryStepRuns(t *testing.T) {
	size.Need(t, size.All)
	for server, roots := range map[string]string{"versitygw": "lock", "minio": "age"} {
		t.Run(server, func(t *testing.T) {
			var out, log bytes.Buffer
			err := run(t.Context(), []string{"--specs=60", "--parse=60", "--peers=60", "--repeat=1", "--server=" + server, "--roots=" + roots, "--dir=" + t.TempDir(), "--json"}, &out, &log)
			if errors.Is(err, fs.ErrNotExist) && os.Getenv(s3test.RequireTools) != "1" {
				t.Skip(err)
			}
			if err != nil {
				t.Fatalf("%v\n%s", err, log.String())
			}
			var all []*Figures
			if err := json.Unmarshal(out.Bytes(), &all); err != nil {
				t.Fatal(err)
			}
			seen := map[string]*Figures{}
			for _, f := range all {
				seen[f.Step] = f
			}
			for name := range steps {
				if name != "plan" && seen[name] == nil {
					t.Errorf("no figures of %s", name)
				}
			}
			prune, theirs := seen["prune"], seen["predecessor"]
			if prune.Gone == 0 || theirs.Gone != prune.Gone || theirs.Ours == nil || seen["spack prune"].Gone != prune.Gone {
				t.Errorf("prune %+v, predecessor %+v", prune, theirs)
			}
			if err := table(&out, all); err != nil || !strings.Contains(out.String(), "as a multiple of our prune") {
				t.Errorf("got %s, %v", out.String(), err)
			}
		})
	}
}

func TestWrongFlagsAreNamed(t *testing.T) {
	for _, flag := range []string{"--specs=many", "--specs=-1", "--roots=luck", "--server=ceph"} {
		if err := run(t.Context(), []string{flag, "--dir=" + t.TempDir()}, new(bytes.Buffer), new(bytes.Buffer)); err == nil {
			t.Errorf("%s: no error", flag)
		}
	}
}
