package assemble

import (
	"bytes"
	"fmt"
	"strings"
)

// A replacement is a prefix that becomes another one.
type replacement struct{ old, new string }

// A replacer replaces prefixes in what packages hold, as Spack does when it
// relocates. Where several match in one place, the first one counts.
type replacer struct {
	pairs  []replacement
	common string // how all old prefixes begin
}

// newReplacer leaves out what replaces nothing, and what repeats.
func newReplacer(pairs []replacement) replacer {
	var r replacer
	seen := map[string]bool{}
	for _, p := range pairs {
		if p.old == p.new || p.old == "" || seen[p.old] {
			continue
		}
		seen[p.old] = true
		if r.common = beginning(r.common, p.old); len(r.pairs) == 0 {
			r.common = p.old
		}
		r.pairs = append(r.pairs, p)
	}
	return r
}

func beginning(a, b string) string {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return a[:n]
}

// find returns the next place from on where a prefix is; -1: there is none.
func (r replacer) find(data []byte, from int) (int, replacement) {
	for len(r.pairs) > 0 && from <= len(data) {
		i := bytes.Index(data[from:], []byte(r.common))
		if i < 0 {
			break
		}
		from += i
		for _, p := range r.pairs {
			if bytes.HasPrefix(data[from:], []byte(p.old)) {
				return from, p
			}
		}
		from++
	}
	return -1, replacement{}
}

// link returns where a symbolic link leads afterwards.
func (r replacer) link(target string) string {
	for _, p := range r.pairs {
		if rest, ok := strings.CutPrefix(target, p.old); ok {
			return p.new + rest
		}
	}
	return target
}

func isWord(c byte) bool {
	return c == '_' || c == '-' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// text returns a text file with its prefixes replaced. A prefix counts where a
// path begins, perhaps with letters before it (-L/opt/…), and not in the middle
// of a longer path.
func (r replacer) text(data []byte) []byte {
	var out bytes.Buffer
	done := 0
	for at := 0; ; {
		i, p := r.find(data, at)
		if i < 0 {
			break
		}
		begin := i
		for begin > done && isWord(data[begin-1]) {
			begin--
		}
		if begin > 0 && (isWord(data[begin-1]) || data[begin-1] == '/') {
			at = i + 1
			continue
		}
		end := i + len(p.old)
		out.Write(data[done:i])
		out.WriteString(p.new)
		rest := end
		for rest < len(data) && (isWord(data[rest]) || data[rest] == '/') {
			rest++
		}
		out.Write(data[end:rest])
		done, at = rest, rest
	}
	if done == 0 {
		return data
	}
	out.Write(data[done:])
	return out.Bytes()
}

// keepSuffix is how many bytes at the end of a string in a binary must stay
// where they are: linkers let strings share their ends.
const keepSuffix = 7

// binary replaces prefixes in place, without a change of size: a shorter path
// gets slashes in front, or the string ends sooner. What has no room is an
// error.
func (r replacer) binary(data []byte) error {
	for at := 0; ; {
		i, p := r.find(data, at)
		if i < 0 {
			return nil
		}
		end := i + len(p.old)
		shorter := len(p.old) - len(p.new)
		if shorter < 0 {
			return fmt.Errorf("%s has no room for %s, which is longer", p.old, p.new)
		}
		suffix := bytes.IndexByte(data[end:min(end+keepSuffix+1, len(data))], 0)
		padded := strings.Repeat("/", shorter) + p.new
		switch {
		case suffix < 0, suffix >= keepSuffix, sameEnd(p, keepSuffix-suffix):
			copy(data[i:], padded)
			at = end
		case shorter > keepSuffix:
			n := copy(data[i:], p.new)
			copy(data[i+n:], data[end:end+suffix+1])
			at = end
		default:
			return fmt.Errorf("%s cannot become %s in a string that ends there: other strings may share its end", p.old, p.new)
		}
		if suffix >= 0 {
			at = end + suffix + 1
		}
	}
}

// sameEnd reports whether the last n bytes of both prefixes are equal.
func sameEnd(p replacement, n int) bool {
	return len(p.new) >= n && strings.HasSuffix(p.old, p.new[len(p.new)-n:])
}
