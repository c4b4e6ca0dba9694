package publish_test

import (
	"archive/tar"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"

	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/publish"
	"github.com/openbraininstitute/spacktainers/internal/registry"
	"github.com/openbraininstitute/spacktainers/internal/testing/registrytest"
	"github.com/openbraininstitute/spacktainers/internal/testing/tooltest"
)

var (
	measure = flag.Bool("measure", false, "measure pushes of a large image against podman and skopeo")
	layers  = flag.Int("layers", 50, "of the image to measure with")
	size    = flag.Int64("size", 40<<20, "of each layer")
	only    = flag.String("only", "", "measure this one alone: spacktainers, skopeo or podman")
	child   = flag.String("child", "", "what TestMeasure starts: the tree to push from")
	address = flag.String("address", "", "the registry that the child pushes to")
)

// TestMeasure compares with podman push and skopeo copy: go test -run=TestMeasure -measure -v
// -timeout=1h
func TestMeasure(t *testing.T) {
	if *child != "" {
		tree := image.Tree(*child)
		push(t, newClient(t, registry.Options{Retry: registry.DefaultRetry}), repositoryOf(t, *address, "big"), read(t, tree, "big"), publish.Request{Tags: []string{"1.0"}})
		return
	}
	if !*measure {
		t.Skip("needs -measure: takes minutes and gigabytes")
	}
	skopeo, podman := tooltest.Need(t, "skopeo"), tooltest.Need(t, "podman")
	dir, err := os.MkdirTemp("", "measure") // podman takes no upper-case letter in the path of a layout
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Unmount(filepath.Join(dir, "podman", "overlay"), 0)
		_ = os.RemoveAll(dir)
	})
	trees := []image.Tree{image.Tree(filepath.Join(dir, "first")), image.Tree(filepath.Join(dir, "changed"))}
	parts := bigLayers(t, filepath.Join(dir, "layers"), *layers+1)
	bigImage(t, trees[0], parts[:*layers])
	bigImage(t, trees[1], append(parts[1:*layers:*layers], parts[*layers]))
	storage := []string{"--root=" + filepath.Join(dir, "podman"), "--runroot=" + filepath.Join(dir, "run")}
	for i, tree := range trees {
		if *only != "" {
			break
		}
		pull := exec.Command(podman, append(storage, "pull", "--quiet", "oci:"+tree.Dir("big", "linux/amd64"))...)
		pull.Stderr = os.Stderr
		if out, err := pull.Output(); err != nil {
			t.Fatalf("podman pull: %v", err)
		} else if out, err := exec.Command(podman, append(storage, "tag", string(out[:64]), fmt.Sprint("localhost/big:", i))...).CombinedOutput(); err != nil {
			t.Fatalf("podman tag: %v: %s", err, out)
		}
	}
	tools := []struct {
		name string
		argv func(step int, host string) []string
	}{
		{"spacktainers", func(step int, host string) []string {
			return []string{os.Args[0], "-test.run=^TestMeasure$", "-child=" + string(trees[step/2]), "-address=" + host}
		}},
		{"skopeo copy", func(step int, host string) []string {
			return []string{skopeo, "copy", "--quiet", "--dest-tls-verify=false", "oci:" + trees[step/2].Dir("big", "linux/amd64"), "docker://" + host + "/org/big:1.0"}
		}},
		{"podman push", func(step int, host string) []string {
			return append(append([]string{podman}, storage...), "push", "--quiet", "--tls-verify=false", fmt.Sprint("localhost/big:", step/2), "docker://"+host+"/org/big:1.0")
		}},
	}
	for _, tool := range tools {
		if !strings.HasPrefix(tool.name, *only) {
			continue
		}
		// One address for all three: podman remembers by it what a registry has.
		proxy := newMeter(t, registrytest.Debian(t, registrytest.Options{}).Host)
		for step, name := range []string{"first push", "second push", "one layer changed"} {
			proxy.sent.Store(0)
			cmd := exec.Command(tool.argv(step, proxy.host)[0], tool.argv(step, proxy.host)[1:]...)
			began := time.Now()
			out, err := cmd.CombinedOutput()
			took := time.Since(began)
			time.Sleep(200 * time.Millisecond) // until the proxy has seen the connections close
			if err != nil {
				t.Fatalf("%s: %s: %v\n%s", tool.name, name, err, out)
			}
			usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
			t.Logf("| %s | %s | %.2f s | %.2f s | %.1f MB | %d MB |", tool.name, name, took.Seconds(), cmd.ProcessState.UserTime().Seconds()+cmd.ProcessState.SystemTime().Seconds(),
				float64(proxy.sent.Load())/1e6, usage.Maxrss>>10)
			if tool.name == "spacktainers" && usage.Maxrss>>10 >= 100 {
				t.Errorf("%d MB of memory, want less than 100", usage.Maxrss>>10)
			}
		}
	}
}

// bigLayers writes layers that compression cannot make smaller.
func bigLayers(t *testing.T, dir string, n int) []v1.Layer {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var all []v1.Layer
	for i := range n {
		path := filepath.Join(dir, fmt.Sprint(i))
		file, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		zipped, _ := gzip.NewWriterLevel(file, gzip.BestSpeed)
		w := tar.NewWriter(zipped)
		_ = w.WriteHeader(&tar.Header{Name: fmt.Sprintf("opt/%d", i), Mode: 0o644, Size: *size})
		if _, err := io.CopyN(w, rand.NewChaCha8([32]byte{byte(i)}), *size); err != nil {
			t.Fatal(err)
		}
		_, _, _ = w.Close(), zipped.Close(), file.Close()
		layer, err := tarball.LayerFromFile(path, tarball.WithMediaType(types.OCILayer))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, layer)
	}
	return all
}

func bigImage(t *testing.T, tree image.Tree, layers []v1.Layer) {
	t.Helper()
	_, err := tree.Create("big", "linux/amd64", lockText(t, lockA), func(dir string) (image.Record, error) {
		record := image.Record{Name: "big", Version: "1.0", Platform: "linux/amd64", BuildKey: image.BuildKey([]image.Input{{Kind: string(tree)}})}
		img, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), layers...)
		if err != nil {
			return record, err
		}
		config, err := img.ConfigFile()
		if err != nil {
			return record, err
		}
		config = config.DeepCopy()
		config.OS, config.Architecture = "linux", "amd64"
		if img, err = mutate.ConfigFile(img, config); err != nil {
			return record, err
		}
		path, err := layout.Write(dir, emptyIndex{})
		if err != nil {
			return record, err
		}
		if err := path.AppendImage(img); err != nil {
			return record, err
		}
		record.Digest, err = img.Digest()
		return record, err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A meter is a proxy that counts what is sent to a server.
type meter struct {
	host string
	sent atomic.Int64
}

func newMeter(t *testing.T, to string) *meter {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	m := &meter{host: listener.Addr().String()}
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := new(net.Dialer).DialContext(context.Background(), "tcp", to)
			if err != nil {
				from.Close()
				continue
			}
			go func() {
				n, _ := io.Copy(server, from)
				m.sent.Add(n)
				server.Close()
			}()
			go func() {
				_, _ = io.Copy(from, server)
				from.Close()
			}()
		}
	}()
	return m
}
