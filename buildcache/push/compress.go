package push

import (
	"bytes"
	"compress/gzip"
)

// compress writes gzip without a name or a time, so that the same text is the same blob.
func compress(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(data) // a buffer takes everything
	_ = w.Close()
	return b.Bytes()
}
