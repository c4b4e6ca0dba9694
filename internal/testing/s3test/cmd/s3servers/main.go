// S3servers builds the S3 servers that the tests run against, where they are
// not built yet.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/openbraininstitute/spacktainers/internal/testing/s3test"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := s3test.Build(ctx, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "s3servers:", err)
		os.Exit(1)
	}
}
