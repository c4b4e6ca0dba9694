package assemble

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/testing/synth"
)

// The benchmarks measure whole processes: this test binary runs itself again,
// and the system tells what the child took.
//
//	go test -run=- -bench=Assemble -benchtime=3x ./internal/assemble
func BenchmarkAssemble(b *testing.B) {
	b.Run("bundled cache, 11 packages", func(b *testing.B) {
		measure(b, fixtures+"/v3-signed/cache", fixtures+"/v3-signed/locks/env-a.spack.lock")
	})
	b.Run("synthetic cache, 300 packages, 2 GB", func(b *testing.B) {
		mirror, lock := synthetic(b, 304, 2_000_000_000/300)
		measure(b, mirror, lock)
	})
}

// synthetic writes a cache of layout 3 in which every package is a root.
func synthetic(t testing.TB, specs, size int) (mirror, lock string) {
	t.Helper()
	dir := t.TempDir()
	cache := synth.Cache{Specs: specs, Layout: 3, PackageSize: size}
	err := cache.Fill(func(o synth.Object) error {
		path := filepath.Join(dir, "cache", filepath.FromSlash(o.Key))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, o.Body, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	lock = filepath.Join(dir, "spack.lock")
	if err := os.WriteFile(lock, cache.Lockfile(cache.Roots(specs)...), 0o644); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "cache"), lock
}

// measure assembles first with an empty work folder, then with what the first
// build has left there.
func measure(b *testing.B, mirror, lock string) {
	dir := b.TempDir()
	for _, state := range []string{"cold", "warm"} {
		b.Run(state, func(b *testing.B) {
			var cpu, peak float64
			for b.Loop() {
				if state == "cold" {
					b.StopTimer()
					if err := os.RemoveAll(dir); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
				child := exec.Command(os.Args[0], "-test.run=^TestChildAssembles$")
				child.Env = append(os.Environ(), "ASSEMBLE_MIRROR="+mirror, "ASSEMBLE_LOCK="+lock, "ASSEMBLE_DIR="+dir)
				out, err := child.CombinedOutput()
				if err != nil {
					b.Fatalf("%v\n%s", err, out)
				}
				cpu += (child.ProcessState.UserTime() + child.ProcessState.SystemTime()).Seconds()
				var kB float64
				if _, status, ok := strings.Cut(string(out), "VmHWM:"); ok {
					fmt.Sscan(status, &kB)
				}
				peak = max(peak, kB/1024)
			}
			b.ReportMetric(cpu/float64(b.N), "cpu-s/op")
			b.ReportMetric(peak, "peak-MiB")
		})
	}
}

// TestChildAssembles is the process that the benchmark measures.
func TestChildAssembles(t *testing.T) {
	mirror := os.Getenv("ASSEMBLE_MIRROR")
	if mirror == "" {
		return // a test run, not the benchmark
	}
	b := newBench(t, mirror)
	dir := os.Getenv("ASSEMBLE_DIR")
	b.tree, b.work = image.Tree(filepath.Join(dir, "images")), filepath.Join(dir, "work")
	b.mustBuild(b.container(os.Getenv("ASSEMBLE_LOCK")))
	// The system's own account of a child begins with its parent's memory, so
	// the child tells its peak itself, where there is a /proc.
	status, _ := os.ReadFile("/proc/self/status")
	os.Stdout.Write(status)
}
