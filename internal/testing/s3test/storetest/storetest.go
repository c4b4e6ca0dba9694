// Package storetest is what every store of a build cache must do, as tests.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A Store can be read and written.
type Store interface {
	buildcache.Store
	buildcache.Writer
}

// Run runs the tests, each on an empty store that open returns.
func Run(t *testing.T, open func(t *testing.T) Store) {
	tests := map[string]func(*testing.T, Store){
		"WhatWasPutIsRead":            whatWasPutIsRead,
		"PutOverwrites":               putOverwrites,
		"MissingIsNotExist":           missingIsNotExist,
		"OddKeys":                     oddKeys,
		"ListGoesByPrefix":            listGoesByPrefix,
		"ListSeesMoreThanAPage":       listSeesMoreThanAPage,
		"DeleteTakesManyKeys":         deleteTakesManyKeys,
		"DeleteOfNothing":             deleteOfNothing,
		"CopyIsNew":                   copyIsNew,
		"IfNoneMatchKeepsWhatIsThere": ifNoneMatchKeeps,
		"IfMatchKeepsWhatChanged":     ifMatchKeeps,
		"OneOfManyCreates":            oneOfManyCreates,
		"OneOfManyReplaces":           oneOfManyReplaces,
		"ShortBodyChangesNothing":     shortBody,
		"EndedContext":                endedContext,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// Put stores text, or ends the test.
func Put(t testing.TB, s buildcache.Writer, key, text string) (etag string) {
	t.Helper()
	etag, err := put(t.Context(), s, key, text, buildcache.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	return etag
}

func put(ctx context.Context, s buildcache.Writer, key, text string, cond buildcache.Condition) (string, error) {
	return s.Put(ctx, key, strings.NewReader(text), int64(len(text)), buildcache.PutOptions{ContentType: "text/plain", Condition: cond})
}

// PutMany stores objects of one byte under keys of this format.
func PutMany(t testing.TB, s buildcache.Writer, format string, n int) (keys []string) {
	t.Helper()
	slots, group := make(chan struct{}, 16), sync.WaitGroup{}
	for i := range n {
		key := fmt.Sprintf(format, i)
		keys = append(keys, key)
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			if _, err := put(t.Context(), s, key, "x", buildcache.Condition{}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return keys
}

// Read returns the text of an object.
func Read(t testing.TB, s buildcache.Store, key string) (string, buildcache.Object) {
	t.Helper()
	r, o, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text), o
}

// List returns what is there, sorted by key.
func List(t testing.TB, s buildcache.Store, prefix string) (objects []buildcache.Object) {
	t.Helper()
	for o, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, o)
	}
	slices.SortFunc(objects, func(a, b buildcache.Object) int { return strings.Compare(a.Key, b.Key) })
	return objects
}

// Keys returns the keys of objects.
func Keys(objects []buildcache.Object) (keys []string) {
	for _, o := range objects {
		keys = append(keys, o.Key)
	}
	return keys
}

func whatWasPutIsRead(t *testing.T, s Store) {
	before := time.Now().Add(-2 * time.Second) // whole seconds in headers
	for _, text := range []string{"text", "", strings.Repeat("0123456789abcdef", 1<<16)} {
		etag := Put(t, s, "a/b", text)
		got, o := Read(t, s, "a/b")
		if got != text {
			t.Errorf("got %d bytes, want %d", len(got), len(text))
		}
		if o.Key != "a/b" || o.Size != int64(len(text)) || o.ETag != etag || etag == "" || o.ModTime.Before(before) || o.ModTime.After(time.Now().Add(time.Second)) {
			t.Errorf("Get says %+v, Put said ETag %q", o, etag)
		}
		for _, l := range List(t, s, "a/") {
			if l.Key != o.Key || l.Size != o.Size || l.ETag != o.ETag || l.ModTime.Sub(o.ModTime).Abs() > time.Second {
				t.Errorf("List says %+v, Get %+v", l, o)
			}
		}
	}
}

func putOverwrites(t *testing.T, s Store) {
	first, second := Put(t, s, "a", "one"), Put(t, s, "a", "two")
	if first == second {
		t.Errorf("both have the ETag %s", first)
	}
	if got, _ := Read(t, s, "a"); got != "two" {
		t.Errorf("got %q", got)
	}
}

func missingIsNotExist(t *testing.T, s Store) {
	Put(t, s, "a/b", "x")
	for _, key := range []string{"b", "a/c", "a"} {
		if _, _, err := s.Get(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Get(%q): got %v", key, err)
		}
	}
	if err := s.Copy(t.Context(), "b", "c"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Copy: got %v", err)
	}
}

// odd are keys that real caches hold or could.
var odd = []string{
	"plus+and space", "per%20cent%", "a&b<c>\"d'", "ünïcode/日本語", "tilde~!*()'", "at@colon:semi;comma,", "equals=question?hash#",
	"new\nline", "tab\tkey", "v-1.0+cuda=12/x", "_pgp/KEY.pub", "emoji-🦀", "back\\slash", "[brackets]{braces}|^`", ".hidden/..dots..",
}

func oddKeys(t *testing.T, s Store) {
	for _, key := range odd {
		Put(t, s, key, key)
	}
	want := slices.Sorted(slices.Values(odd))
	if got := Keys(List(t, s, "")); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for _, key := range odd {
		if got, _ := Read(t, s, key); got != key {
			t.Errorf("%q holds %q", key, got)
		}
		if err := s.Copy(t.Context(), key, "copy/"+key); err != nil {
			t.Error(err)
		} else if got, _ := Read(t, s, "copy/"+key); got != key {
			t.Errorf("the copy of %q holds %q", key, got)
		}
	}
	if err := s.Delete(t.Context(), odd); err != nil {
		t.Error(err)
	}
	for _, key := range Keys(List(t, s, "")) {
		if !strings.HasPrefix(key, "copy/") {
			t.Errorf("%q is still there", key)
		}
	}
}

func listGoesByPrefix(t *testing.T, s Store) {
	all := []string{"r/a-1", "r/a-1.spec", "r/a/1", "r/a/2", "r/b", "r2", "s/x"}
	for _, key := range all {
		Put(t, s, key, "x")
	}
	for _, prefix := range []string{"", "r", "r/", "r/a", "r/a/", "r/a-", "r/a/1", "x", "r/a/1/"} {
		var want []string
		for _, key := range all {
			if strings.HasPrefix(key, prefix) {
				want = append(want, key)
			}
		}
		if got := Keys(List(t, s, prefix)); !slices.Equal(got, want) {
			t.Errorf("List(%q): got %q, want %q", prefix, got, want)
		}
	}
}

func listSeesMoreThanAPage(t *testing.T, s Store) {
	want := slices.Concat(PutMany(t, s, "r/a/%04d", 1100), PutMany(t, s, "r/a-%04d", 1100))
	slices.Sort(want)
	if got := Keys(List(t, s, "r/")); !slices.Equal(got, want) {
		t.Errorf("got %d keys, want %d", len(got), len(want))
	}
	n := 0
	for range s.List(t.Context(), "") {
		if n++; n == 1500 {
			break
		}
	}
}

func deleteTakesManyKeys(t *testing.T, s Store) {
	keys := PutMany(t, s, "d/%04d", 1500)
	Put(t, s, "kept", "x")
	if err := s.Delete(t.Context(), append(keys, "never/there", keys[0])); err != nil {
		t.Error(err)
	}
	if got := Keys(List(t, s, "")); !slices.Equal(got, []string{"kept"}) {
		t.Errorf("left: %q", got)
	}
	if err := s.Delete(t.Context(), keys); err != nil {
		t.Errorf("again: %v", err)
	}
}

func deleteOfNothing(t *testing.T, s Store) {
	if err := s.Delete(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if err := s.Delete(t.Context(), []string{""}); err == nil {
		t.Error("an empty key is accepted")
	}
}

func copyIsNew(t *testing.T, s Store) {
	Put(t, s, "from", "text")
	_, from := Read(t, s, "from")
	time.Sleep(1100 * time.Millisecond) // stores keep whole seconds
	Put(t, s, "to", "other")
	if err := s.Copy(t.Context(), "from", "to"); err != nil {
		t.Fatal(err)
	}
	got, to := Read(t, s, "to")
	if got != "text" || !to.ModTime.After(from.ModTime) {
		t.Errorf("got %q of %v, from %v", got, to.ModTime, from.ModTime)
	}
}

func ifNoneMatchKeeps(t *testing.T, s Store) {
	cond := buildcache.Condition{IfNoneMatch: true}
	if _, err := put(t.Context(), s, "a", "one", cond); err != nil {
		t.Fatal(err)
	}
	if _, err := put(t.Context(), s, "a", "two", cond); !errors.Is(err, buildcache.ErrChanged) {
		t.Errorf("got %v", err)
	}
	if got, _ := Read(t, s, "a"); got != "one" {
		t.Errorf("got %q", got)
	}
}

func ifMatchKeeps(t *testing.T, s Store) {
	old := Put(t, s, "a", "one")
	etag, err := put(t.Context(), s, "a", "two", buildcache.Condition{IfMatch: old})
	if err != nil || etag == old {
		t.Fatal(etag, err)
	}
	if _, err := put(t.Context(), s, "a", "three", buildcache.Condition{IfMatch: old}); !errors.Is(err, buildcache.ErrChanged) {
		t.Errorf("changed: got %v", err)
	}
	if _, err := put(t.Context(), s, "b", "three", buildcache.Condition{IfMatch: old}); !errors.Is(err, buildcache.ErrChanged) {
		t.Errorf("gone: got %v", err)
	}
	if got, _ := Read(t, s, "a"); got != "two" {
		t.Errorf("got %q", got)
	}
	if _, err := put(t.Context(), s, "a", "x", buildcache.Condition{IfMatch: etag, IfNoneMatch: true}); err == nil {
		t.Error("two conditions are accepted")
	}
}

func oneOfManyCreates(t *testing.T, s Store) {
	race(t, s, buildcache.Condition{IfNoneMatch: true})
}

func oneOfManyReplaces(t *testing.T, s Store) {
	for range 4 {
		race(t, s, buildcache.Condition{IfMatch: Put(t, s, "lease", "free….")})
	}
}

// race lets 32 write what has the same length, so that only the rest of an
// ETag tells them apart.
func race(t *testing.T, s Store, cond buildcache.Condition) {
	t.Helper()
	var won atomic.Int64
	var winner atomic.Value
	var group sync.WaitGroup
	for i := range 32 {
		group.Go(func() {
			text := fmt.Sprintf("racer %02d", i)
			_, err := put(t.Context(), s, "lease", text, cond)
			if err == nil {
				won.Add(1)
				winner.Store(text)
			} else if !errors.Is(err, buildcache.ErrChanged) {
				t.Errorf("got %v", err)
			}
		})
	}
	group.Wait()
	if got, _ := Read(t, s, "lease"); won.Load() != 1 || got != winner.Load() {
		t.Errorf("%d won, of them %v, and %q is there", won.Load(), winner.Load(), got)
	}
}

func shortBody(t *testing.T, s Store) {
	Put(t, s, "a", "one")
	for _, key := range []string{"a", "b"} {
		if _, err := s.Put(t.Context(), key, bytes.NewReader(make([]byte, 10)), 20, buildcache.PutOptions{}); err == nil {
			t.Error("10 bytes are taken for 20")
		}
	}
	if got := Keys(List(t, s, "")); !slices.Equal(got, []string{"a"}) {
		t.Errorf("got %q", got)
	}
	if got, _ := Read(t, s, "a"); got != "one" {
		t.Errorf("got %q", got)
	}
}

func endedContext(t *testing.T, s Store) {
	Put(t, s, "a", "one")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range s.List(ctx, "") {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("List: got %v", err)
		}
	}
	if _, _, err := s.Get(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("Get: got %v", err)
	}
	if _, err := put(ctx, s, "a", "two", buildcache.Condition{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Put: got %v", err)
	}
	var failed *buildcache.DeleteError
	if err := s.Delete(ctx, []string{"a"}); !errors.Is(err, context.Canceled) || !errors.As(err, &failed) {
		t.Errorf("Delete: got %v", err)
	}
	if got, _ := Read(t, s, "a"); got != "one" {
		t.Errorf("got %q", got)
	}
}
