package faultproxy

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"time"
)

// Fail answers without asking the server, with an error as S3 words it: 503
// SlowDown, 403 AccessDenied.
func Fail(status int, code string) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ func() *Reply) {
		_, _ = io.Copy(io.Discard, r.Body)
		send(w, &Reply{Status: status, Header: http.Header{"Content-Type": {"application/xml"}}, Body: fmt.Appendf(nil,
			`<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>Said the proxy.</Message><RequestId>PROXY</RequestId></Error>`, code)})
	}
}

// Answer answers 200 with a body, without asking the server.
func Answer(body string) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ func() *Reply) {
		_, _ = io.Copy(io.Discard, r.Body)
		send(w, &Reply{Status: http.StatusOK, Header: http.Header{}, Body: []byte(body)})
	}
}

// LoseReply lets the server do its work and breaks the connection.
func LoseReply(_ http.ResponseWriter, _ *http.Request, forward func() *Reply) {
	forward()
	panic(http.ErrAbortHandler)
}

// Break breaks the connection before the server hears of the request.
func Break(http.ResponseWriter, *http.Request, func() *Reply) { panic(http.ErrAbortHandler) }

// CutBody breaks the connection after n bytes of the body of the reply.
func CutBody(n int) Fault {
	return func(w http.ResponseWriter, _ *http.Request, forward func() *Reply) {
		reply := forward()
		copyHeader(w.Header(), reply.Header)
		w.Header().Set("Content-Length", strconv.Itoa(len(reply.Body)))
		w.WriteHeader(reply.Status)
		_, _ = w.Write(reply.Body[:min(n, len(reply.Body))])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// ShortenBody drops what follows the first n bytes of the body of the reply,
// and says that this is all.
func ShortenBody(n int) Fault {
	return Rewrite(func(body []byte) []byte { return body[:min(n, len(body))] })
}

var (
	truncated = regexp.MustCompile(`<IsTruncated>true</IsTruncated>`)
	nextToken = regexp.MustCompile(`<NextContinuationToken>[^<]*</NextContinuationToken>`)
)

// EndListing makes a page of a listing the last one, whatever follows.
var EndListing = Rewrite(func(body []byte) []byte {
	return nextToken.ReplaceAll(truncated.ReplaceAll(body, []byte(`<IsTruncated>false</IsTruncated>`)), nil)
})

// KeyError adds the error of one key to the reply to a batch delete that names
// it, though the server has deleted it.
func KeyError(key, code string) Fault {
	return func(w http.ResponseWriter, r *http.Request, forward func() *Reply) {
		asked, _ := io.ReadAll(r.Body) // the server tells what is wrong with it
		r.Body = io.NopCloser(bytes.NewReader(asked))
		reply := forward()
		if bytes.Contains(asked, []byte("<Key>"+key+"</Key>")) {
			const end = "</DeleteResult>"
			failed := fmt.Sprintf("<Error><Key>%s</Key><Code>%s</Code><Message>Said the proxy.</Message></Error>", key, code)
			reply.Body = bytes.Replace(reply.Body, []byte(end), []byte(failed+end), 1)
		}
		send(w, reply)
	}
}

// Rewrite changes the body of the reply.
func Rewrite(edit func(body []byte) []byte) Fault {
	return func(w http.ResponseWriter, _ *http.Request, forward func() *Reply) {
		reply := forward()
		reply.Body = edit(reply.Body)
		send(w, reply)
	}
}

// Around calls before and after around a request that is otherwise left
// alone. Either may be nil. After comes before the client has the reply.
func Around(before, after func()) Fault {
	return func(w http.ResponseWriter, _ *http.Request, forward func() *Reply) {
		if before != nil {
			before()
		}
		reply := forward()
		if after != nil {
			after()
		}
		send(w, reply)
	}
}

// Delay lets a request wait.
func Delay(d time.Duration) Fault { return Around(func() { time.Sleep(d) }, nil) }

func send(w http.ResponseWriter, reply *Reply) {
	copyHeader(w.Header(), reply.Header)
	if reply.Header.Get("Content-Length") != "" || len(reply.Body) > 0 {
		w.Header().Set("Content-Length", strconv.Itoa(len(reply.Body)))
	}
	w.WriteHeader(reply.Status)
	_, _ = w.Write(reply.Body)
}
