package inventory

import (
	"bufio"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/atomicfile"
)

// A Target is an object that S3 Batch Operations are to work on.
type Target struct {
	Key     string // relative to the mirror
	Version string // its version ID; "" is the latest one
}

// WriteBatch writes a manifest for S3 Batch Operations to a file: whole, or
// not at all. Either all targets have a version, or none has.
func WriteBatch(file string, mirror Mirror, targets iter.Seq[Target]) error {
	f, err := atomicfile.Create(file)
	if err != nil {
		return fmt.Errorf("batch manifest: %w", err)
	}
	defer f.Discard()
	if err := writeBatch(f, mirror, targets); err != nil {
		return fmt.Errorf("batch manifest %s: %w", file, err)
	}
	if err := f.Commit(file, 0o644); err != nil {
		return fmt.Errorf("batch manifest %s: %w", file, err)
	}
	return nil
}

// writeBatch writes bucket,key or bucket,key,version, without a header: S3
// would take that for an object.
func writeBatch(to io.Writer, mirror Mirror, targets iter.Seq[Target]) error {
	prefix := strings.Trim(mirror.Prefix, "/")
	if prefix != "" {
		prefix += "/"
	}
	w := bufio.NewWriter(to)
	versions, first := false, true
	for t := range targets {
		switch {
		case t.Key == "":
			return fmt.Errorf("a key is empty")
		case first:
			versions, first = t.Version != "", false
		case versions != (t.Version != ""):
			return fmt.Errorf("%s: want a version for all objects, or for none", t.Key)
		}
		row := mirror.Bucket + "," + escape(prefix+t.Key)
		if versions {
			row += "," + escape(t.Version)
		}
		if _, err := w.WriteString(row + "\n"); err != nil {
			return err
		}
	}
	return w.Flush()
}

// escape URL-encodes all but what never means anything else, so that whatever
// undoes it, as of a query or as of a path, gets the same text.
func escape(text string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(text) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~/", c) >= 0:
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}
