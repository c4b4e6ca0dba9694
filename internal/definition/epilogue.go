package definition

import (
	"regexp"
	"strings"
)

// heredoc is a word that begins one; a here-string (<<<) and a shift are none.
var heredoc = regexp.MustCompile(`^\d*<<-?["']?([A-Za-z_][A-Za-z0-9_]*)["']?$`)

// checkEpilogue refuses a FROM: the epilogue is appended to the last stage,
// and another stage would ship instead of it.
func checkEpilogue(p *problems, data []byte) {
	var continued bool
	var ends []string // delimiters of the heredocs that are open
	for i, line := range strings.Split(string(data), "\n") {
		text := strings.TrimSpace(line)
		switch {
		case len(ends) > 0:
			if text == ends[0] {
				ends = ends[1:]
			}
			continue
		case strings.HasPrefix(text, "#"), continued && text == "":
			continue // also between the lines of one instruction
		}
		words := strings.Fields(text)
		if !continued && len(words) > 0 && strings.EqualFold(words[0], "FROM") {
			p.add(i+1, strings.Index(line, words[0])+1, "FROM starts another image: the epilogue is appended to the last stage")
		}
		for _, word := range words {
			if found := heredoc.FindStringSubmatch(word); found != nil {
				ends = append(ends, found[1])
			}
		}
		continued = strings.HasSuffix(text, `\`)
	}
	if len(ends) > 0 {
		p.file("a heredoc has no end: %s is missing", ends[0])
	}
}
