package synth_test

import (
	"fmt"
	"io"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/testing/synth"
)

func BenchmarkFill(b *testing.B) {
	for _, layout := range []int{2, 3} {
		for _, shallow := range []bool{true, false} {
			b.Run(fmt.Sprintf("layout %d, shallow %v", layout, shallow), func(b *testing.B) {
				b.ReportAllocs()
				c := synth.Cache{Specs: 1000, Layout: layout, Shallow: shallow}
				for b.Loop() {
					if err := c.Fill(func(synth.Object) error { return nil }); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkIndex(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(19_000_000)
	for b.Loop() {
		if err := synth.Index(io.Discard, 10_000, 1); err != nil {
			b.Fatal(err)
		}
	}
}
