package ui_test

import (
	"bytes"
	"strings"
	"sync"
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
}

func TestLinesSpeakOfLargeBlobsThatArrived(t *testing.T) {
	var said []string
	lines := ui.Lines{Say: func(line string) { said = append(said, line) }}
	send(lines, 1000, true)
	send(lines, 5<<20, false)
	send(lines, 5<<20, true)
	if len(said) != 1 || !strings.Contains(said[0], "sent abababababab to r.example/x: 5.0 MiB") {
		t.Errorf("said %q", said)
	}
}

func TestBarsEndWhenBlobsBreakOff(t *testing.T) {
	var screen bytes.Buffer
	bars := ui.NewBars(&screen)
	var wait sync.WaitGroup
	for i := range 20 {
		wait.Go(func() { send(bars, 1<<20, i%3 > 0) })
	}
	wait.Wait()
	bars.Close() // hangs if a bar is still waited for
	bars.Close()
}
