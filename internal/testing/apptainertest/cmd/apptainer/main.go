// Apptainer makes the apptainer that tests run, where it is not there yet.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/openbraininstitute/spacktainers/internal/testing/apptainertest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := apptainertest.Build(ctx, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "apptainer:", err)
		os.Exit(1)
	}
}
