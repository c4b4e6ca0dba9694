package s3

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/dustin/go-humanize"
)

// A Kind of request. Servers count and bill by them.
type Kind int

// The kinds. Put also stands for the requests of a multipart upload, Get for
// questions about the bucket.
const (
	List Kind = iota
	Get
	Head
	Put
	Copy
	Delete
	kinds
)

var kindNames = [kinds]string{"LIST", "GET", "HEAD", "PUT", "COPY", "DELETE"}

func (k Kind) String() string { return kindNames[k] }

// Requests counts HTTP requests, each attempt by itself, and the bytes of
// their bodies. The zero value is ready; it may be used by several goroutines.
type Requests struct {
	n       [kinds]atomic.Int64
	in, out atomic.Int64
}

// Of returns how many requests of a kind were sent.
func (r *Requests) Of(k Kind) int { return int(r.n[k].Load()) }

// Total returns how many requests were sent.
func (r *Requests) Total() int {
	total := 0
	for k := range kinds {
		total += r.Of(k)
	}
	return total
}

// Writes returns how many requests were sent that could change something.
func (r *Requests) Writes() int { return r.Of(Put) + r.Of(Copy) + r.Of(Delete) }

// Bytes returns how many bytes of bodies were received and sent.
func (r *Requests) Bytes() (in, out int64) { return r.in.Load(), r.out.Load() }

// String returns a line such as
//
//	17 requests (12 LIST, 5 GET), 1.2 MiB in, 3.0 KiB out
func (r *Requests) String() string {
	var by []string
	for k := range kinds {
		if n := r.Of(k); n > 0 {
			by = append(by, fmt.Sprintf("%d %s", n, k))
		}
	}
	in, out := r.Bytes()
	text := fmt.Sprintf("%d requests", r.Total())
	if len(by) > 0 {
		text += " (" + strings.Join(by, ", ") + ")"
	}
	return fmt.Sprintf("%s, %s in, %s out", text, humanize.IBytes(uint64(in)), humanize.IBytes(uint64(out)))
}
