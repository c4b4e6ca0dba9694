package targets

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What a page tells people to type is a call of a target that exists, with flags that it takes.
func TestThePagesNameTargetsAndFlagsThatExist(t *testing.T) {
	var pages []string
	for _, pattern := range []string{"../../*.md", "../../docs/*.md", "../../container_definitions/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	targets := signatures()
	calls := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range callsIn(string(text)) {
			calls++
			sig, ok := targets[strings.ToLower(asTarget(call[0]))]
			if !ok {
				t.Errorf("%s: mage %s: there is no such target", filepath.Base(page), strings.Join(call, " "))
				continue
			}
			for _, word := range call[1:] {
				name, _, _ := strings.Cut(strings.TrimPrefix(word, "--"), "=")
				if _, known := sig.flag(&name); strings.HasPrefix(word, "--") && word != "--" && !known && !strings.Contains("help plain quiet", name) {
					t.Errorf("%s: mage %s: it takes no %s", filepath.Base(page), strings.Join(call, " "), word)
				}
			}
		}
	}
	if calls < 30 {
		t.Errorf("found %d calls", calls)
	}
}

// typed is a call in a code span or a line of code.
var typed = regexp.MustCompile("(?m)(?:`|^(?:\\$ )?)mage ([a-z]+(?::[a-z-]+)?)((?: [^`\n#;&|]*)?)")

// callsIn returns the calls in a page: target and words. Alternatives such as [NAME] are words, too.
func callsIn(page string) (calls [][]string) {
	for _, found := range typed.FindAllStringSubmatch(page, -1) {
		words := strings.Fields(strings.NewReplacer("[", " ", "]", " ", "(", " ", ")", " ").Replace(found[2]))
		for i, word := range words {
			if word == "--" {
				words = words[:i]
				break
			}
		}
		calls = append(calls, append([]string{found[1]}, words...))
	}
	return calls
}

// The list of rooms in docs/design.md has each that there is, and no other.
func TestTheDesignNamesEachRoom(t *testing.T) {
	text, err := os.ReadFile("../../docs/design.md")
	if err != nil {
		t.Fatal(err)
	}
	list, _, _ := strings.Cut(string(text), "\n## Arrows")
	_, list, _ = strings.Cut(list, "\ninternal/\n")
	list, _, _ = strings.Cut(list, "\nbuildcache/")
	named := map[string]bool{"testing": true}
	for _, found := range regexp.MustCompile(`(?m)^  ([a-z]+/(?: [a-z]+/)*)`).FindAllStringSubmatch(list, -1) {
		for _, room := range strings.Fields(found[1]) {
			named[strings.TrimSuffix(room, "/")] = true
		}
	}
	rooms, err := os.ReadDir("../../internal")
	if err != nil {
		t.Fatal(err)
	}
	for _, room := range rooms {
		if !named[room.Name()] {
			t.Errorf("docs/design.md does not name internal/%s", room.Name())
		}
		delete(named, room.Name())
	}
	for room := range named {
		t.Errorf("docs/design.md names internal/%s, which is not there", room)
	}
}
