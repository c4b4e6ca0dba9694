// Package abstract reads abstract specs, as people write them (hdf5@1.14: +mpi ^mpich %gcc), and
// compares them with each other and with concrete ones, as far as that can be told without Spack
// and its package recipes. What cannot be told is Maybe, never a guess.
package abstract

import (
	"fmt"
	"regexp"
	"strings"
)

// A Spec is an abstract spec: a package, and the dependencies that are asked for.
type Spec struct {
	Node
	Dependencies []Dependency // in the order of the text
}

// A Dependency is what stands behind ^ or %.
type Dependency struct {
	Direct     bool     // written with %
	Virtuals   []string // that it is to provide
	Properties string   // of the edge, such as deptypes=build when=+x, other than virtuals
	Spec       Spec     // a dependency of ^ has those of % behind it
}

// A Node is one package of a spec and what is asked of it.
type Node struct {
	Namespace, Name string // Name is empty in an anonymous spec
	Versions        string // as written behind @; empty: any
	Variants        []Variant
	Hash            string // beginning of a DAG hash; empty: any
}

// A Variant is what a key must be: a variant, a compiler flag, or target, os, platform or arch.
type Variant struct {
	Key, Value string // of a boolean variant true or false
	Propagate  bool   // to dependencies too
	Exact      bool   // nothing but this value
}

// Spack's tokens, in the order in which they are tried.
const (
	identifier = `(?:[a-zA-Z_0-9][a-zA-Z_0-9\-]*)`
	name       = `[a-zA-Z_0-9][a-zA-Z_0-9\-.]*`
	virtuals   = `(?:` + identifier + `(?:,` + identifier + `)*=(?:` + identifier + `(?:\.` + identifier + `)*))`
	value      = `(?:[a-zA-Z_0-9\-+*.,:=%^~/\\]+|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")`
	version    = `=?(?:[a-zA-Z0-9_][a-zA-Z_0-9\-.]*\b)`
	versions   = `(?:(?:` + version + `)?:(?:` + version + `)?|` + version + `)`
	git        = `(?:git\.[a-zA-Z_0-9][a-zA-Z_0-9./\-]*|[A-Fa-f0-9]{40}\b)`
)

var tokens = []struct {
	kind  string
	match *regexp.Regexp
}{
	{"edge", regexp.MustCompile(`^(?:\^|%%|%)\[`)},
	{"end", regexp.MustCompile(`^\](?:\s*` + virtuals + `)?`)},
	{"dependency", regexp.MustCompile(`^(?:\^|%%|%)(?:\s*` + virtuals + `)?`)},
	{"version", regexp.MustCompile(`^@` + git + `(?:=` + version + `)?`)},
	{"version", regexp.MustCompile(`^@\s*` + versions + `(?:\s*,\s*` + versions + `)*`)},
	{"boolean", regexp.MustCompile(`^(?:\+\+|~~|--|[~+-])\s*` + name)},
	{"pair", regexp.MustCompile(`^` + name + `:?==?` + value)},
	{"name", regexp.MustCompile(`^` + identifier + `(?:\.` + identifier + `)*`)},
	{"name", regexp.MustCompile(`^\*`)},
	{"hash", regexp.MustCompile(`^/[a-zA-Z_0-9]+`)},
	{"space", regexp.MustCompile(`^\s+`)},
}

type token struct{ kind, text string }

func tokenize(text string) (found []token, err error) {
	for rest := text; rest != ""; {
		t := next(rest)
		if t.kind == "" {
			return nil, fmt.Errorf("what is %q in the spec %q", rest, text)
		}
		if t.kind != "space" {
			found = append(found, t)
		}
		rest = rest[len(t.text):]
	}
	return found, nil
}

func next(rest string) token {
	for _, t := range tokens {
		text := t.match.FindString(rest)
		if text == "" {
			continue
		}
		// The end of a range is no version where it is the key of a variant: @1.2: target=x.
		if colon := strings.LastIndex(text, ":"); t.kind == "version" && colon >= 0 && strings.HasPrefix(strings.TrimLeft(rest[len(text):], " \t"), "=") {
			text = text[:colon+1]
		}
		return token{t.kind, text}
	}
	return token{}
}

// Parse reads one spec. Legacy is how Spack before 1.0 read %: as the compiler of the package
// before it, with what follows belonging to that package.
func Parse(text string, legacy bool) (Spec, error) {
	found, err := tokenize(text)
	if err != nil {
		return Spec{}, err
	}
	p := parser{text: text, tokens: found, legacy: legacy}
	s, err := p.spec()
	if err == nil && len(p.tokens) > 0 {
		err = fmt.Errorf("%q holds two specs: the second begins at %q", text, p.tokens[0].text)
	}
	return s, err
}

type parser struct {
	text   string
	tokens []token
	legacy bool
}

func (p *parser) peek() string {
	if len(p.tokens) == 0 {
		return ""
	}
	return p.tokens[0].kind
}

func (p *parser) take() string {
	text := p.tokens[0].text
	p.tokens = p.tokens[1:]
	return text
}

func (p *parser) spec() (Spec, error) {
	var s Spec
	if err := p.node(&s.Node, true); err != nil {
		return s, err
	}
	for p.peek() == "edge" || p.peek() == "dependency" {
		d, err := p.dependency()
		if err != nil {
			return s, err
		}
		to := &s.Dependencies
		owner := &s.Node
		if last := len(s.Dependencies) - 1; d.Direct && last >= 0 && !s.Dependencies[last].Direct {
			to, owner = &s.Dependencies[last].Spec.Dependencies, &s.Dependencies[last].Spec.Node
		}
		if p.legacy && d.Direct { // what stands behind a compiler's version is the package's
			owner.Variants = append(owner.Variants, d.Spec.Variants...)
			d.Spec.Variants = nil
			if owner.Hash == "" {
				owner.Hash, d.Spec.Hash = d.Spec.Hash, ""
			}
		}
		*to = append(*to, d)
	}
	return s, nil
}

func (p *parser) dependency() (Dependency, error) {
	var d Dependency
	kind, text := p.peek(), p.take()
	d.Direct = strings.HasPrefix(text, "%")
	if kind == "edge" {
		var properties []string
		for p.peek() == "pair" || p.peek() == "boolean" {
			pair := p.take()
			if key, value, _ := strings.Cut(pair, "="); key == "virtuals" {
				d.Virtuals = strings.Split(unquote(value), ",")
			} else {
				properties = append(properties, pair)
			}
		}
		if p.peek() != "end" {
			return d, fmt.Errorf("%q: a bracket is not closed", p.text)
		}
		d.Properties, text = strings.Join(properties, " "), p.take()
	}
	if names, substitute, ok := strings.Cut(strings.TrimLeft(text, "^%] \t"), "="); ok {
		d.Virtuals = append(d.Virtuals, strings.Split(names, ",")...)
		p.tokens = append([]token{{"name", substitute}}, p.tokens...)
	}
	if err := p.node(&d.Spec.Node, false); err != nil {
		return d, err
	}
	if d.Spec.Name == "" && d.Spec.Hash == "" && d.Spec.Versions == "" && len(d.Spec.Variants) == 0 {
		return d, fmt.Errorf("%q: nothing stands behind %s", p.text, strings.TrimSpace(text))
	}
	return d, nil
}

func (p *parser) node(n *Node, root bool) error {
	if p.peek() == "name" {
		full := p.take()
		n.Name = full
		if dot := strings.LastIndex(full, "."); dot >= 0 {
			n.Namespace, n.Name = full[:dot], full[dot+1:]
		}
		if n.Name == "*" {
			n.Name = ""
		}
	}
	for {
		switch p.peek() {
		case "version":
			if n.Versions != "" {
				return fmt.Errorf("%q asks for two versions of a package", p.text)
			}
			n.Versions = strings.Join(strings.Fields(p.take()[1:]), "")
		case "boolean":
			text := p.take()
			key := strings.TrimLeft(text, "+~- \t")
			sigils := strings.TrimSpace(text[:len(text)-len(key)])
			n.Variants = append(n.Variants, Variant{Key: key, Value: fmt.Sprint(sigils[0] == '+'), Propagate: len(sigils) == 2, Exact: true})
		case "pair":
			n.Variants = append(n.Variants, pair(p.take())...)
		case "hash":
			if n.Hash != "" {
				return fmt.Errorf("%q holds two hashes", p.text)
			}
			n.Hash = p.take()[1:]
		default:
			return nil
		}
	}
}

// pair reads key=value, key==value and key:=value. An arch is three of them.
func pair(text string) []Variant {
	key, value, _ := strings.Cut(text, "=")
	v := Variant{Key: strings.TrimSuffix(key, ":"), Exact: strings.HasSuffix(key, ":")}
	if rest, ok := strings.CutPrefix(value, "="); ok {
		v.Propagate, value = true, rest
	}
	v.Value = unquote(value)
	if v.Key == "arch" || v.Key == "architecture" {
		if parts := strings.SplitN(v.Value, "-", 3); len(parts) == 3 {
			return []Variant{{Key: "platform", Value: parts[0]}, {Key: "os", Value: parts[1]}, {Key: "target", Value: parts[2]}}
		}
	}
	if boolean := strings.ToLower(v.Value); boolean == "true" || boolean == "false" {
		v.Value, v.Exact = boolean, true
	}
	return []Variant{v}
}

func unquote(text string) string {
	if len(text) >= 2 && (text[0] == '"' || text[0] == '\'') && text[len(text)-1] == text[0] {
		return strings.ReplaceAll(text[1:len(text)-1], `\`+text[:1], text[:1])
	}
	return text
}
