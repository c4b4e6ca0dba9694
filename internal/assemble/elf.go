package assemble

import (
	"bytes"
	"debug/elf"
	"fmt"
	"strings"
)

// relocateELF replaces prefixes in the search path for libraries and in the
// interpreter of a program or library, in place. Before anything else that is
// in a binary these decide what it runs with; they may become shorter freely.
// What is no ELF file, or has no dynamic section, stays as it is.
func (r replacer) relocateELF(data []byte) error {
	if !bytes.HasPrefix(data, []byte(elf.ELFMAG)) {
		return nil
	}
	file, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil // Spack leaves alone what it cannot read, and what follows finds prefixes anywhere
	}
	for _, p := range file.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		if err := r.replaceString(data, p.Off, r.link); err != nil {
			return fmt.Errorf("interpreter: %w", err)
		}
	}
	at, ok := searchPath(file, data)
	if !ok {
		return nil
	}
	if err := r.replaceString(data, at, r.paths); err != nil {
		return fmt.Errorf("search path: %w", err)
	}
	return nil
}

// paths replaces prefixes in a search path, and leaves out empty parts, which
// only keep room.
func (r replacer) paths(list string) string {
	var parts []string
	changed := false
	for part := range strings.SplitSeq(list, ":") {
		if part == "" {
			continue
		}
		relocated := r.link(part)
		changed = changed || relocated != part
		parts = append(parts, relocated)
	}
	if !changed {
		return list
	}
	return strings.Join(parts, ":")
}

// replaceString changes the string at an offset, which ends with a zero.
func (r replacer) replaceString(data []byte, at uint64, change func(string) string) error {
	if at >= uint64(len(data)) {
		return nil
	}
	n := bytes.IndexByte(data[at:], 0)
	if n < 0 {
		return nil
	}
	old := string(data[at : at+uint64(n)])
	relocated := change(old)
	if len(relocated) > n {
		return fmt.Errorf("%q has no room for %q", old, relocated)
	}
	clear(data[at+uint64(copy(data[at:], relocated)) : at+uint64(n)])
	return nil
}

// searchPath returns the offset of the string that DT_RPATH or DT_RUNPATH
// names.
func searchPath(file *elf.File, data []byte) (offset uint64, ok bool) {
	var strings, name uint64
	for _, p := range file.Progs {
		if p.Type != elf.PT_DYNAMIC || p.Off > uint64(len(data)) || p.Filesz > uint64(len(data))-p.Off {
			continue
		}
		for tag, value := range dynamic(file, data[p.Off:p.Off+p.Filesz]) {
			switch tag {
			case elf.DT_STRTAB:
				strings = value
			case elf.DT_RPATH, elf.DT_RUNPATH:
				name, ok = value, true
			}
		}
	}
	if !ok {
		return 0, false
	}
	for _, p := range file.Progs {
		if p.Type == elf.PT_LOAD && p.Vaddr <= strings && strings-p.Vaddr < p.Filesz {
			return strings - p.Vaddr + p.Off + name, true
		}
	}
	return 0, false
}

// dynamic yields the entries of a dynamic section up to its end.
func dynamic(file *elf.File, section []byte) func(yield func(elf.DynTag, uint64) bool) {
	return func(yield func(elf.DynTag, uint64) bool) {
		size := 8
		number := func(b []byte) uint64 { return uint64(file.ByteOrder.Uint32(b)) }
		if file.Class == elf.ELFCLASS64 {
			size = 16
			number = file.ByteOrder.Uint64
		}
		for ; len(section) >= size; section = section[size:] {
			tag := elf.DynTag(number(section))
			if tag == elf.DT_NULL || !yield(tag, number(section[size/2:])) {
				return
			}
		}
	}
}
