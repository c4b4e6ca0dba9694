package yamlstrict

import (
	"strings"
	"testing"
)

type house struct {
	Name  string          `yaml:"name"`
	Rooms []room          `yaml:"rooms"`
	Doors map[string]room `yaml:"doors"`
	Floor int             `yaml:"floor"`
}

type room struct {
	Size  float64 `yaml:"size"`
	Light bool    `yaml:"light"`
}

func TestDecodeKeepsWhatTheFileDoesNotMention(t *testing.T) {
	h := house{Name: "old", Floor: 2, Rooms: []room{{Size: 1}, {Size: 2}}, Doors: map[string]room{"front": {Size: 3, Light: true}}}
	if err := Decode("h.yaml", []byte("rooms: [{size: 9}]\ndoors: {front: {size: 4}, back: {light: true}}\n"), &h); err != nil {
		t.Fatal(err)
	}
	if h.Name != "old" || h.Floor != 2 {
		t.Errorf("defaults are gone: %+v", h)
	}
	if len(h.Rooms) != 1 || h.Rooms[0].Size != 9 {
		t.Errorf("a list is not replaced: %+v", h.Rooms)
	}
	if h.Doors["front"] != (room{4, true}) || h.Doors["back"] != (room{0, true}) {
		t.Errorf("maps are not merged: %+v", h.Doors)
	}
}

func TestDecodeReportsEveryMistakeInTheOrderOfTheFile(t *testing.T) {
	text := "nme: x\nrooms:\n- {size: big}\n- size: 1\n  size: 2\nfloor: [1]\ndoors: 3\n"
	err := Decode("h.yaml", []byte(text), &house{})
	if err == nil {
		t.Fatal("no error")
	}
	want := []string{`h.yaml:1:1: unknown key "nme": did you mean "name"?`, "h.yaml:3:", "h.yaml:5:3: ", "h.yaml:6:", "h.yaml:7:"}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d mistakes, want %d:\n%v", len(lines), len(want), err)
	}
	for i, line := range lines {
		if !strings.HasPrefix(line, want[i]) {
			t.Errorf("got %s, want %s…", line, want[i])
		}
	}
}

func TestSyntaxFindsTheTab(t *testing.T) {
	err := Decode("h.yaml", []byte("name: x\nrooms:\n\t- {size: 1}\n"), &house{})
	if err == nil || !strings.HasPrefix(err.Error(), "h.yaml:3:1: ") || !strings.Contains(err.Error(), "a tab") {
		t.Errorf("got %v", err)
	}
}

func TestOtherEncodingsAreRefusedWhereTheyBegin(t *testing.T) {
	for text, want := range map[string]string{
		"name: x\nrooms: [] # caf\xe9\n":    "h.yaml:2:16: this is not UTF-8",
		"\xfe\xff\x00\x85\x85\x00":          "h.yaml:1:1: this is not UTF-8",
		"\xff\xfen\x00a\x00:\x00 \x00x\x00": "h.yaml:1:1: this is not UTF-8",
	} {
		if err := Decode("h.yaml", []byte(text), &house{}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
	if err := Decode("h.yaml", []byte("\ufeffname: caf\u00e9 # \ufffd\n"), &house{}); err != nil {
		t.Error(err)
	}
}
