package synth

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// zippers are kept: each has a megabyte of tables.
var zippers = sync.Pool{New: func() any {
	z, err := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)
	if err != nil {
		panic(err) // the level is a constant
	}
	return z
}}

// zip returns what write writes, compressed. Its writer takes all.
func zip(write func(io.Writer)) []byte {
	var b bytes.Buffer
	z := zippers.Get().(*gzip.Writer)
	defer zippers.Put(z)
	z.Reset(&b)
	write(z)
	z.Close()
	return b.Bytes()
}
