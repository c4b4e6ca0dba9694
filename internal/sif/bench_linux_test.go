package sif

import (
	"archive/tar"
	"io"
	"os"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/testing/apptainertest"
)

// BenchmarkConvert measures what it takes to convert an image of some hundred
// megabytes, of Go's own files, with each engine and compression.
func BenchmarkConvert(b *testing.B) {
	files, err := command.Output(b.Context(), command.Exec(nil), command.Cmd{Args: []string{"go", "env", "GOROOT"}})
	if err != nil {
		b.Fatal(err)
	}
	layer := openLayer(b, func() (io.ReadCloser, error) {
		from, to := io.Pipe()
		go func() { to.CloseWithError(tarFolder(to, files)) }()
		return from, nil
	})
	tree, record := put(b, "amd64", v1.Config{}, layer)
	builder := native(b)
	builder.Run = command.Exec(nil)
	engines := map[string]Engine{builder.Engine.Name(): builder.Engine}
	if bin, err := apptainertest.Find(); err == nil {
		b.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
		engine, err := NewApptainer(b.Context(), builder.Run, "")
		if err != nil {
			b.Fatal(err)
		}
		engines[engine.Name()] = engine
	}
	for name, engine := range engines {
		for _, compression := range Compressions {
			b.Run(name+"/"+string(compression), func(b *testing.B) {
				builder.Engine, builder.Compression, builder.Force = engine, compression, true
				before := used(b)
				var size int64
				for b.Loop() {
					r, _, err := builder.Build(b.Context(), tree, record, "")
					if err != nil {
						b.Fatal(err)
					}
					size = r.Size
				}
				b.ReportMetric((used(b)-before)/float64(b.N), "cpu-s/op")
				b.ReportMetric(float64(size)/1e6, "MB")
			})
		}
	}
}

// used is the time that we and our programs have had of the processors.
func used(b *testing.B) (seconds float64) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			b.Fatal(err)
		}
		for _, t := range []syscall.Timeval{u.Utime, u.Stime} {
			seconds += float64(t.Sec) + float64(t.Usec)/1e6
		}
	}
	return seconds
}

func tarFolder(to io.Writer, dir string) error {
	w := tar.NewWriter(to)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		return err
	}
	return w.Close()
}
