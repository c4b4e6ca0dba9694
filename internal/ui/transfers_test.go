package ui_test

import (
	"bytes"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/internal/ui"
)

var blob = v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("ab", 32)}

func send(p ui.Transfers, size int64, complete bool) {
	transfer := p.Begin("r.example/x", blob, size)
	for range 4 {
		transfer.Sent(int(size / 4))
	}
	transfer.End(complete)
	transfer.End(complete)
}

func TestALogHearsOfLargeBlobsThatArrived(t *testing.T) {
	var log bytes.Buffer
	progress := ui.New(&bytes.Buffer{}, &log, "", ui.Style{}).Progress(t.Context())
	transfers := ui.Transfers{Progress: progress}
	send(transfers, 1000, true)
	send(transfers, 5<<20, false)
	send(transfers, 5<<20, true)
	progress.Close()
	progress.Close()
	if said := log.String(); strings.Count(said, "\n") != 1 || !strings.Contains(said, `sent abababababab to r.example/x size="5.0 MiB"`) {
		t.Errorf("said %q", said)
	}
}
