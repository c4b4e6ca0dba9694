package gateway

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
)

// maxPackage bounds what one object that a build hands over may take of our disk.
const maxPackage = 64 << 30

// maxWaiting bounds how many objects of a build may wait for the spec file that names them.
const maxWaiting = 64

// An inbox holds objects that a build has handed over, until the spec file comes that names them.
type inbox struct {
	mu      sync.Mutex
	dir     string
	waiting map[string]arrived // by key
}

// An arrived object is in a file that has no name any more.
type arrived struct {
	file     *os.File
	size     int64
	checksum string // sha256, in hexadecimal
}

// put stores an object.
func (in *inbox) put(staging, key string, body io.Reader) error {
	file, err := in.create(staging)
	if err != nil {
		return err
	}
	sum := sha256.New()
	size, err := io.Copy(io.MultiWriter(file, sum), body)
	if err != nil {
		file.Close()
		return err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.waiting) >= maxWaiting {
		file.Close()
		return errors.New("too many objects without a spec file")
	}
	in.drop(key)
	in.waiting[key] = arrived{file, size, hex.EncodeToString(sum.Sum(nil))}
	return nil
}

// create makes a file that goes when it is closed, however we end.
func (in *inbox) create(staging string) (*os.File, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.dir == "" {
		if err := os.MkdirAll(staging, 0o755); err != nil {
			return nil, err
		}
		dir, err := os.MkdirTemp(staging, "received-*.part")
		if err != nil {
			return nil, err
		}
		in.dir, in.waiting = dir, map[string]arrived{}
	}
	file, err := os.CreateTemp(in.dir, "")
	if err != nil {
		return nil, err
	}
	return file, os.Remove(file.Name())
}

// take returns an object and forgets it; the caller closes its file.
func (in *inbox) take(key string) (arrived, bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	a, ok := in.waiting[key]
	delete(in.waiting, key)
	return a, ok
}

// drop forgets an object. The caller holds the lock.
func (in *inbox) drop(key string) {
	if a, ok := in.waiting[key]; ok {
		a.file.Close()
		delete(in.waiting, key)
	}
}

func (in *inbox) close() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	for key := range in.waiting {
		in.drop(key)
	}
	if in.dir == "" {
		return nil
	}
	return os.RemoveAll(in.dir)
}

// limited is the body of a request, of at most maxPackage bytes.
func limited(w http.ResponseWriter, r *http.Request) io.Reader {
	return http.MaxBytesReader(w, r.Body, maxPackage)
}
