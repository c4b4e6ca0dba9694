package yamlstrict

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Encoding returns the mistake of a file that is not UTF-8, else nil. YAML may
// also be UTF-16, whose lines no editor counts as its reader does.
func Encoding(path string, data []byte) *Mistake {
	valid := data
	for len(valid) > 0 {
		r, size := utf8.DecodeRune(valid)
		if r == utf8.RuneError && size == 1 {
			before := data[:len(data)-len(valid)]
			line := before[bytes.LastIndexByte(before, '\n')+1:]
			return &Mistake{Path: path, Line: bytes.Count(before, []byte("\n")) + 1, Column: utf8.RuneCount(line) + 1, Message: "this is not UTF-8: save the file as UTF-8"}
		}
		valid = valid[size:]
	}
	return nil
}

var yamlError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// Syntax puts what the YAML reader says of a file that is no YAML into a
// mistake. The reader knows lines only, so the column is that of a tab, the
// usual culprit, or the first.
func Syntax(path string, data []byte, err error) *Mistake {
	found := yamlError.FindStringSubmatch(err.Error())
	if found == nil {
		return &Mistake{Path: path, Message: err.Error()}
	}
	line, _ := strconv.Atoi(found[1]) // without one the mistake is in the first line
	if line > 0 && strings.HasPrefix(found[2], "did not find expected") {
		line++ // its parser, unlike its scanner, counts lines from 0
	}
	message := "invalid YAML: " + found[2]
	lines := strings.Split(strings.TrimRight(string(data), "\r\n"), "\n")
	line = min(max(1, line), len(lines))
	for i := line - 1; i < min(line+1, len(lines)); i++ { // the line named may be where the part began
		if strings.HasPrefix(strings.TrimLeft(lines[i], " "), "\t") {
			return &Mistake{Path: path, Line: i + 1, Column: strings.Index(lines[i], "\t") + 1, Message: message + ": a tab; YAML indents with spaces"}
		}
	}
	return &Mistake{Path: path, Line: line, Column: 1, Message: message}
}
