// Bench measures the janitor as whole processes, against a real S3 server on
// loopback, with caches that it makes itself:
//
//	go run ./internal/testing/s3test/cmd/s3servers   # once: builds the servers
//	go run ./bench/janitor [flags]
//
// For each number of specs and each layout it fills a bucket, and runs there
//
//	list, list in shards   every object of the bucket: pages one by one, or 16 prefixes at a time
//	index                  the index alone, thrown away as it comes
//	list+index             both at once: less than this, no plan can take
//	plan                   what a dry run decides: cold and warm where manifests must be read, and
//	                       by age instead of a lockfile, which has to be read as well (or, with
//	                       --roots=age, the other way round)
//	condemn                a whole run that condemns half of the specs
//	prune                  a whole run that deletes them: four looks, the new index, the room
//	reindex                the index anew from the spec files that are left
//
// then reads indexes of other sizes from a file (parse), and replays what others do
// on caches of the same kind, on the same server, with the same client: the
// predecessor (a HEAD for each entry of the index, one after the other, twice),
// and Spack's own pruner with the update-index that it wants afterwards.
//
// Each step is a process of its own. Printed are its wall and CPU time, its
// greatest memory, its requests by kind, the bytes in their bodies, the fewest
// requests that would do, and its times as multiples of list+index. Reading
// steps are run several times, and the fastest counts.
//
// It holds nothing against a time: machines differ. The ratios are what to
// compare.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/testing/s3test"
)

// A bench is one call of the program.
type bench struct {
	specs, parse []int
	layouts      []int
	peers        int
	server       *s3test.Server
	byAge        bool
	dags         bool
	repeat       int
	dir          string
	now          time.Time
	log          io.Writer
	results      []*Figures
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == "step" {
		os.Exit(child(os.Args[2]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, log io.Writer) (err error) {
	b := &bench{now: time.Now(), log: log}
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	specs := flags.String("specs", "1000,10000,100000", "sizes of the caches")
	layouts := flags.String("layouts", "2,3", "layouts of the caches")
	parse := flags.String("parse", "10000,100000,1000000", "sizes of the indexes that are only read; 0 is none")
	flags.IntVar(&b.peers, "peers", 10000, "size of the caches on which others are replayed; 0 is none")
	server := flags.String("server", "minio", "minio or versitygw")
	roots := flags.String("roots", "lock", "what keeps half of the cache when it is pruned: a lockfile (lock), or its age (age)")
	flags.BoolVar(&b.dags, "dags", false, "spec files with whole DAGs, as Spack writes them: slow to fill, matters to reindex only")
	flags.IntVar(&b.repeat, "repeat", 3, "how often steps run that only read")
	dir := flags.String("dir", os.TempDir(), "where the server keeps its data; 2 GB for each 100000 specs")
	asJSON := flags.Bool("json", false, "print JSON")
	flags.Parse(args) // it exits
	for text, to := range map[*string]*[]int{specs: &b.specs, layouts: &b.layouts, parse: &b.parse} {
		if *to, err = numbers(*text); err != nil {
			return err
		}
	}
	if b.byAge = *roots == "age"; !b.byAge && *roots != "lock" {
		return fmt.Errorf("--roots=%s: want lock or age", *roots)
	}
	if b.dir, err = os.MkdirTemp(*dir, "janitor-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if b.server, err = s3test.Start(*server, b.dir); err != nil {
		return err
	}
	defer b.server.Stop()
	err = b.all(ctx)
	return errors.Join(err, b.print(out, *asJSON)) // what was measured until then is worth something
}

func (b *bench) print(out io.Writer, asJSON bool) error {
	if !asJSON {
		return table(out, b.results)
	}
	e := json.NewEncoder(out)
	e.SetIndent("", " ")
	return e.Encode(b.results)
}

func (b *bench) all(ctx context.Context) error {
	for _, layout := range b.layouts {
		for _, specs := range b.specs {
			if err := b.clean(ctx, specs, layout); err != nil {
				return fmt.Errorf("%d specs, layout %d: %w", specs, layout, err)
			}
		}
	}
	for _, specs := range b.parse {
		if err := b.parseOnly(ctx, specs); err != nil {
			return fmt.Errorf("index of %d specs: %w", specs, err)
		}
	}
	for _, layout := range b.layouts {
		if err := b.compare(ctx, layout); err != nil {
			return fmt.Errorf("peers, layout %d: %w", layout, err)
		}
	}
	return nil
}

// numbers reads numbers by commas; zeros are none.
func numbers(text string) (list []int, err error) {
	for field := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%q: want numbers with commas between", text)
		}
		if n > 0 {
			list = append(list, n)
		}
	}
	return list, nil
}
