package s3test

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Stub is a small S3 server in memory that has the habits which servers of people were found to
// have. It knows path-style URLs and one bucket, whatever its name.
type Stub struct {
	Quirks
	URL string

	mu       sync.Mutex
	objects  map[string]stubObject
	requests []string // method, path and query
}

// Quirks are habits of servers. The zero value is one that behaves as AWS does.
type Quirks struct {
	WantsMD5        bool                  // refuses a batch delete without Content-MD5
	NoBatches       bool                  // knows no batch delete
	DeletesOnce     bool                  // answers 404 to the deletion of one key that is not there
	BatchLimit      int                   // of keys that one may delete; 0 is 1000
	NoConditions    int                   // status with which it refuses conditional writes; 0 is none
	GoogleSignature bool                  // refuses a signature that covers Accept-Encoding
	WantsToken      string                // of the session, in each request
	AnonymousOnly   bool                  // refuses whatever is signed
	LastToken       bool                  // has a token on the last page
	WeakETags       bool                  // in replies to GET, not in listings
	NoMilliseconds  bool                  // in LastModified
	PageSize        int                   // of listings; 0 is 1000
	Archived        func(key string) bool // cannot be read
	Locked          func(key string) bool // cannot be deleted
	Instead         http.HandlerFunc      // answers all requests
}

type stubObject struct {
	data    []byte
	written time.Time
}

func (o stubObject) etag() string {
	sum := md5.Sum(o.data)
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

// NewStub starts a Stub that ends with the test.
func NewStub(t testing.TB, quirks Quirks) *Stub {
	s := &Stub{Quirks: quirks, objects: map[string]stubObject{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// Set stores an object without a request.
func (s *Stub) Set(key, data string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[key] = stubObject{[]byte(data), time.Now()}
}

// Has reports whether an object is there.
func (s *Stub) Has(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.objects[key]
	return ok
}

// Count returns how many requests there were whose method, path and query hold a text.
func (s *Stub) Count(text string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, r := range s.requests {
		if strings.Contains(r, text) {
			n++
		}
	}
	return n
}

// ServeHTTP answers one request.
func (s *Stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r.Method+" "+r.URL.String())
	if s.Instead != nil {
		s.Instead(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil || !s.admits(w, r) {
		return
	}
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch query := r.URL.Query(); {
	case key == "" && r.Method == http.MethodGet && query.Has("list-type"):
		s.list(w, query)
	case key == "" && r.Method == http.MethodPost && query.Has("delete"):
		s.deleteBatch(w, r, body)
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		s.get(w, r, key)
	case r.Method == http.MethodPut:
		s.put(w, r, key, body)
	case r.Method == http.MethodDelete && s.Locked != nil && s.Locked(key):
		refuse(w, 403, "AccessDenied", "Object is WORM protected and cannot be overwritten")
	case r.Method == http.MethodDelete && s.DeletesOnce && s.objects[key].written.IsZero():
		refuse(w, 404, "NoSuchKey", "The specified key does not exist.")
	case r.Method == http.MethodDelete:
		delete(s.objects, key)
		w.WriteHeader(http.StatusNoContent)
	default:
		refuse(w, 501, "NotImplemented", "")
	}
}

func (s *Stub) admits(w http.ResponseWriter, r *http.Request) bool {
	signature := r.Header.Get("Authorization")
	switch {
	case s.GoogleSignature && strings.Contains(signature, "accept-encoding"):
		refuse(w, 403, "SignatureDoesNotMatch", "Access denied.")
	case s.WantsToken != "" && r.Header.Get("X-Amz-Security-Token") != s.WantsToken:
		refuse(w, 403, "InvalidAccessKeyId", "The access key does not exist in our records.")
	case s.AnonymousOnly && signature != "":
		refuse(w, 403, "InvalidAccessKeyId", "The access key does not exist in our records.")
	default:
		return true
	}
	return false
}

func (s *Stub) get(w http.ResponseWriter, r *http.Request, key string) {
	o, ok := s.objects[key]
	switch {
	case !ok:
		refuse(w, 404, "NoSuchKey", "")
		return
	case s.Archived != nil && s.Archived(key):
		refuse(w, 403, "InvalidObjectState", "The operation is not valid for the object's storage class")
		return
	}
	etag := o.etag()
	if s.WeakETags {
		etag = "W/" + etag
	}
	w.Header().Set("ETag", etag)
	w.Header().Set("Content-Type", "binary/octet-stream")
	http.ServeContent(w, r, "", o.written, strings.NewReader(string(o.data)))
}

func (s *Stub) put(w http.ResponseWriter, r *http.Request, key string, body []byte) {
	match, none := r.Header.Get("If-Match"), r.Header.Get("If-None-Match")
	o, ok := s.objects[key]
	switch {
	case match == "" && none == "":
	case s.NoConditions == 501:
		refuse(w, 501, "NotImplemented", "A header you provided implies functionality that is not implemented")
		return
	case s.NoConditions != 0:
		refuse(w, s.NoConditions, "InvalidArgument", "If-None-Match is not supported")
		return
	case none != "" && ok, match != "" && ok && match != o.etag():
		refuse(w, 412, "PreconditionFailed", "")
		return
	case match != "" && !ok:
		refuse(w, 404, "NoSuchKey", "")
		return
	}
	o = stubObject{body, time.Now()}
	s.objects[key] = o
	w.Header().Set("ETag", o.etag())
}

func (s *Stub) deleteBatch(w http.ResponseWriter, r *http.Request, body []byte) {
	var ask struct {
		Object []struct{ Key string }
	}
	limit := s.BatchLimit
	if limit == 0 {
		limit = 1000
	}
	switch err := xml.Unmarshal(body, &ask); {
	case s.NoBatches:
		refuse(w, 501, "NotImplemented", "A header or query you provided implies functionality that is not implemented.")
		return
	case s.WantsMD5 && r.Header.Get("Content-MD5") == "":
		refuse(w, 400, "InvalidRequest", "Missing required header for this request: Content-MD5.")
		return
	case err != nil, len(ask.Object) > limit:
		refuse(w, 400, "MalformedXML", "")
		return
	}
	fmt.Fprint(w, "<DeleteResult>")
	for _, o := range ask.Object {
		if s.Locked != nil && s.Locked(o.Key) {
			fmt.Fprintf(w, "<Error><Key>%s</Key><Code>AccessDenied</Code><Message>Object is WORM protected and cannot be overwritten</Message></Error>", escape(o.Key))
			continue
		}
		delete(s.objects, o.Key)
	}
	fmt.Fprint(w, "</DeleteResult>")
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message><RequestId>r1</RequestId></Error>", code, escape(message))
}

func escape(text string) string {
	var b strings.Builder
	if err := xml.EscapeText(&b, []byte(text)); err != nil {
		panic(err) // a Builder takes all
	}
	return b.String()
}
