package buildcache

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// fieldNames are the keys that this package goes by. encoding/json takes Version for version; Spack
// does not, so what is spelt so is no such field for one of the two.
var fieldNames = [...]string{
	"_meta", "file-type", "lockfile-version", "specfile-version", "spack", "commit", "roots", "spec", "concrete_specs", "include_concrete",
	"name", "version", "hash", "arch", "platform", "platform_os", "target", "compiler", "namespace", "parameters", "package_hash",
	"external", "path", "build_spec", "annotations", "dependencies", "type", "deptypes", "virtuals",
	"nodes", "buildcache_layout_version", "binary_cache_checksum", "hash_algorithm",
	"data", "contentLength", "mediaType", "compression", "checksumAlgorithm", "checksum",
}

// checkStrict refuses what two readers of JSON could understand differently: bytes that are not
// UTF-8, an object that has a key twice, and a key that is one of fieldNames but for capitals. data
// is valid JSON otherwise.
func checkStrict(data []byte) error {
	if !utf8.Valid(data) {
		return fmt.Errorf("%w: it is not UTF-8", ErrFormat)
	}
	type level struct {
		keys  map[string]bool // nil in an array
		isKey bool            // the next string is a key
		free  bool            // the keys are anybody's: variants, attributes, paths
	}
	stack := []level{{}}
	last := "" // key
	for i := 0; i < len(data); i++ {
		top := &stack[len(stack)-1]
		switch data[i] {
		case '{':
			stack = append(stack, level{keys: map[string]bool{}, isKey: true, free: top.free || last == "parameters" || last == "extra_attributes" || last == "include_concrete"})
		case '[':
			stack = append(stack, level{free: top.free})
		case '}', ']':
			stack = stack[:len(stack)-1]
		case ',':
			top.isKey = top.keys != nil
		case ':':
			top.isKey = false
		case '"':
			text := data[i : i+stringLen(data[i:])]
			i += len(text) - 1
			if !top.isKey {
				continue
			}
			last = unquote(text)
			if top.keys[last] {
				return fmt.Errorf("%w: an object has the key %q twice", ErrFormat, last)
			}
			top.keys[last] = true
			if err := checkSpelling(last, top.free); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkSpelling looks at a key. In a free object only those of an edge's parameters count.
func checkSpelling(key string, free bool) error {
	for _, name := range fieldNames {
		if free && name != "deptypes" && name != "virtuals" {
			continue
		}
		if key != name && len(key) <= 2*len(name) && bytes.EqualFold([]byte(key), []byte(name)) {
			return fmt.Errorf("%w: the key %q is not spelt %q", ErrFormat, key, name)
		}
	}
	return nil
}
