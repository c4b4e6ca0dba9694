package assemble

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// buildInfo is where a tarball says which prefixes the package was built with
// and which of its files have them inside.
const buildInfo = ".spack/binary_distribution"

// Bounds of that file. Every file that holds a path is listed in it: this is
// enough for several hundred thousand of them.
const (
	maxInfo  = 16 << 20
	maxItems = 1 << 20
)

// A distribution is what .spack/binary_distribution says.
type distribution struct {
	Sbang    string                     // where scripts look for sbang
	Tree     string                     // the install tree that the package was built in
	Relative string                     // its prefix in that tree
	Prefixes map[buildcache.Hash]string // of the package and its dependencies, at that time
	Text     []string                   // text files that have prefixes inside, relative to the package's own
	Binaries []string                   // other files that have
	Links    []string                   // symbolic links that lead to prefixes
}

// prefix is where the package was built for.
func (d *distribution) prefix() string { return path.Join(d.Tree, d.Relative) }

// readDistribution reads .spack/binary_distribution. Spack writes it as YAML in
// flow style, with strings and truth values only; what looks otherwise is an
// error. A YAML library would need thirty times the memory of a hostile file.
func readDistribution(r io.Reader) (*distribution, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxInfo+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxInfo {
		return nil, fmt.Errorf("tarball: %s has more than %d bytes", buildInfo, maxInfo)
	}
	d, err := parseDistribution(string(text))
	if err != nil {
		return nil, fmt.Errorf("tarball: %s: %w", buildInfo, err)
	}
	return d, nil
}

func parseDistribution(text string) (*distribution, error) {
	d := &distribution{Prefixes: map[buildcache.Hash]string{}}
	p := flowParser{rest: strings.TrimPrefix(text, "---")}
	err := p.mapping(func(key string) (err error) {
		switch key {
		case "sbang_install_path":
			d.Sbang, err = p.scalar()
		case "buildpath":
			d.Tree, err = p.scalar()
		case "relative_prefix":
			d.Relative, err = p.scalar()
		case "relocate_textfiles":
			d.Text, err = p.list()
		case "relocate_binaries":
			d.Binaries, err = p.list()
		case "relocate_links":
			d.Links, err = p.list()
		case "hash_to_prefix":
			err = p.mapping(func(hash string) error {
				prefix, err := p.scalar()
				d.Prefixes[buildcache.Hash(hash)] = prefix
				return err
			})
		case "prefix_to_hash": // Spack 0.19 and older
			err = p.mapping(func(prefix string) error {
				hash, err := p.scalar()
				d.Prefixes[buildcache.Hash(hash)] = prefix
				return err
			})
		default:
			err = p.skip()
		}
		return err
	})
	if err == nil && strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(p.rest), "...")) != "" {
		err = errors.New("something follows the mapping")
	}
	return d, err
}

// A flowParser reads YAML in flow style: mappings and lists of strings.
type flowParser struct {
	rest  string
	items int
}

func (p *flowParser) space() { p.rest = strings.TrimLeft(p.rest, " \t\r\n") }

// take removes a token from the front, and reports whether it was there.
func (p *flowParser) take(token string) bool {
	p.space()
	rest, ok := strings.CutPrefix(p.rest, token)
	p.rest = rest
	return ok
}

func (p *flowParser) count() error {
	if p.items++; p.items > maxItems {
		return fmt.Errorf("more than %d entries", maxItems)
	}
	return nil
}

// mapping calls value for each key, to read what belongs to it.
func (p *flowParser) mapping(value func(key string) error) error {
	return p.sequence("{", "}", func() error {
		key, err := p.scalar()
		if err != nil {
			return err
		}
		if !p.take(":") {
			return fmt.Errorf("no colon behind %q", short(key))
		}
		return value(key)
	})
}

func (p *flowParser) list() ([]string, error) {
	var out []string
	err := p.sequence("[", "]", func() error {
		item, err := p.scalar()
		out = append(out, item)
		return err
	})
	return out, err
}

// sequence calls one for each element between two brackets.
func (p *flowParser) sequence(open, end string, one func() error) error {
	if !p.take(open) {
		return fmt.Errorf("not in the form that Spack writes: no %s at %q", open, short(p.rest))
	}
	for !p.take(end) {
		if err := p.count(); err != nil {
			return err
		}
		if err := one(); err != nil {
			return err
		}
		if !p.take(",") && !strings.HasPrefix(p.rest, end) {
			return fmt.Errorf("no %s at %q", end, short(p.rest))
		}
	}
	return nil
}

// skip reads a value that nothing here needs.
func (p *flowParser) skip() (err error) {
	p.space()
	switch {
	case strings.HasPrefix(p.rest, "["):
		_, err = p.list()
	case strings.HasPrefix(p.rest, "{"):
		err = p.mapping(func(string) error { _, err := p.scalar(); return err })
	default:
		_, err = p.scalar()
	}
	return err
}

// scalar reads a string: plain, or in single or double quotes.
func (p *flowParser) scalar() (string, error) {
	p.space()
	switch {
	case strings.HasPrefix(p.rest, "'"):
		return p.single()
	case strings.HasPrefix(p.rest, `"`):
		return p.double()
	}
	end := p.plainEnd()
	text := strings.TrimRight(p.rest[:end], " \t\r\n")
	p.rest = p.rest[end:]
	if text != "" && (strings.IndexByte("#&*!|>@`%", text[0]) >= 0 || strings.Contains(text, " #")) {
		return "", fmt.Errorf("not in the form that Spack writes: %q", short(text))
	}
	return fold(text), nil
}

// plainEnd is where a plain scalar ends: at a comma, a bracket, or a colon
// that nothing follows.
func (p *flowParser) plainEnd() int {
	for i := range len(p.rest) {
		switch p.rest[i] {
		case ',', '[', ']', '{', '}':
			return i
		case ':':
			if i+1 == len(p.rest) || strings.IndexByte(" \t\r\n,[]{}", p.rest[i+1]) >= 0 {
				return i
			}
		}
	}
	return len(p.rest)
}

// single reads a string in single quotes, in which two stand for one.
func (p *flowParser) single() (string, error) {
	var b strings.Builder
	rest := p.rest[1:]
	for {
		part, after, ok := strings.Cut(rest, "'")
		if !ok {
			return "", errors.New("a quote has no end")
		}
		b.WriteString(part)
		if !strings.HasPrefix(after, "'") {
			p.rest = after
			return fold(b.String()), nil
		}
		b.WriteByte('\'')
		rest = after[1:]
	}
}

// escapes are those of YAML that stand for one character.
var escapes = map[byte]string{
	'0': "\x00", 'a': "\a", 'b': "\b", 't': "\t", 'n': "\n", 'v': "\v", 'f': "\f", 'r': "\r", 'e': "\x1b",
	' ': " ", '"': `"`, '/': "/", '\\': `\`, '\t': "\t", 'N': "\u0085", '_': "\u00a0", 'L': "\u2028", 'P': "\u2029",
}

// digits is how many hexadecimal digits follow an escape.
var digits = map[byte]int{'x': 2, 'u': 4, 'U': 8}

// double reads a string in double quotes.
func (p *flowParser) double() (string, error) {
	var b []byte
	for rest := p.rest[1:]; ; {
		i := strings.IndexAny(rest, "\"\\\n")
		if i < 0 || rest[i] == '\\' && i+1 == len(rest) {
			return "", errors.New("a quote has no end")
		}
		b = append(b, rest[:i]...)
		switch c := rest[i]; {
		case c == '"':
			p.rest = rest[i+1:]
			return string(b), nil
		case c == '\n':
			after := strings.TrimLeft(rest[i:], " \t\r\n")
			b = append(bytes.TrimRight(b, " \t\r"), foldBreaks(rest[i:len(rest)-len(after)])...)
			rest = after
		case rest[i+1] == '\n' || rest[i+1] == '\r':
			rest = strings.TrimLeft(rest[i+1:], " \t\r\n")
		case escapes[rest[i+1]] != "":
			b = append(b, escapes[rest[i+1]]...)
			rest = rest[i+2:]
		default:
			n := digits[rest[i+1]]
			if n == 0 || len(rest) < i+2+n {
				return "", fmt.Errorf("unknown escape %q", short(rest[i:]))
			}
			r, err := strconv.ParseUint(rest[i+2:i+2+n], 16, 32)
			if err != nil || !utf8.ValidRune(rune(r)) {
				return "", fmt.Errorf("unknown escape %q", short(rest[i:]))
			}
			b = utf8.AppendRune(b, rune(r))
			rest = rest[i+2+n:]
		}
	}
}

// fold joins the lines of a string, as YAML does.
func fold(text string) string {
	if !strings.Contains(text, "\n") {
		return text
	}
	var b strings.Builder
	for {
		line, rest, more := strings.Cut(text, "\n")
		if !more {
			b.WriteString(line)
			return b.String()
		}
		after := strings.TrimLeft(rest, " \t\r\n")
		b.WriteString(strings.TrimRight(line, " \t\r"))
		b.WriteString(foldBreaks("\n" + rest[:len(rest)-len(after)]))
		text = after
	}
}

// foldBreaks is a space for one line break, and one break less for several.
func foldBreaks(breaks string) string {
	if n := strings.Count(breaks, "\n"); n > 1 {
		return strings.Repeat("\n", n-1)
	}
	return " "
}

func short(text string) string { return text[:min(len(text), 40)] }
