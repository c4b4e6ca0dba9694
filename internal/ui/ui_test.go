package ui

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

const escape = "\x1b"

func TestNoTerminalGetsNoEscapeCodes(t *testing.T) {
	t.Setenv("CLICOLOR_FORCE", "1") // which the logger's library obeys, and we do not
	t.Setenv("TERM", "xterm-256color")
	var out, err bytes.Buffer
	u := New(&out, &err, "", Style{})
	u.Log.Warn("look", "key", "value")
	if e := u.Table([]string{"name"}, [][]string{{"a"}}); e != nil {
		t.Fatal(e)
	}
	if got := out.String() + err.String(); strings.Contains(got, escape) {
		t.Errorf("escape codes in %q", got)
	}
	if out.String() != "NAME\na\n" || err.String() != "WARN look key=value\n" {
		t.Errorf("got %q and %q", out.String(), err.String())
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

var errFull = errors.New("no space left on device")

func TestAResultThatCannotBeWrittenIsAnError(t *testing.T) {
	u := New(full{}, &bytes.Buffer{}, "", Style{})
	for what, err := range map[string]error{
		"a line": u.Print("x"),
		"JSON":   u.JSON(1),
		"table":  u.Table([]string{"name"}, nil),
	} {
		if !errors.Is(err, errFull) {
			t.Errorf("%s: got %v", what, err)
		}
	}
}
