package rebuild

import (
	"bufio"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"io"
)

const (
	elfHead    = 64       // bytes of the header of a 64-bit ELF file
	elfProgram = 56       // bytes of a program header
	elfFront   = 64 << 10 // bytes in which all program headers are
)

// sums returns the checksum of a file and, of a program or shared library, that of what is loaded of
// it: strip takes what stands behind that, and notes in the header where the sections are now.
func sums(r io.Reader) (content, loaded [sha256.Size]byte, err error) {
	all, part := sha256.New(), sha256.New()
	b := bufio.NewReaderSize(r, elfFront)
	front, err := b.Peek(elfFront)
	if err != nil && err != io.EOF {
		return content, loaded, err
	}
	end := loadedEnd(front)
	if end > 0 {
		head := append([]byte(nil), front[:elfHead]...)
		clear(head[0x28:0x30]) // where the section headers begin
		clear(head[0x3c:0x40]) // how many they are, and which of them has their names
		_, _ = part.Write(head)
		_, err = io.CopyN(all, b, elfHead)
		if err == nil {
			_, err = io.CopyN(io.MultiWriter(all, part), b, end-elfHead)
		}
		if err != nil && err != io.EOF { // one that is cut off is as another one, cut off there, too
			return content, loaded, err
		}
	}
	if _, err = io.Copy(all, b); err != nil {
		return content, loaded, err
	}
	all.Sum(content[:0])
	if end > 0 {
		part.Sum(loaded[:0])
	}
	return content, loaded, nil
}

// loadedEnd returns where the last segment of a 64-bit ELF program or shared library ends that is
// loaded; 0 if the file is none.
func loadedEnd(front []byte) (end int64) {
	if len(front) < elfHead || string(front[:4]) != elf.ELFMAG || front[elf.EI_CLASS] != byte(elf.ELFCLASS64) || front[elf.EI_DATA] != byte(elf.ELFDATA2LSB) {
		return 0
	}
	little := binary.LittleEndian
	if t := elf.Type(little.Uint16(front[0x10:])); t != elf.ET_EXEC && t != elf.ET_DYN {
		return 0
	}
	at, count := little.Uint64(front[0x20:]), uint64(little.Uint16(front[0x38:]))
	if little.Uint16(front[0x36:]) != elfProgram || at < elfHead || at > elfFront || at+count*elfProgram > uint64(len(front)) {
		return 0
	}
	most := at + count*elfProgram
	for ; count > 0; count-- {
		segment := front[at:]
		at += elfProgram
		offset, size := little.Uint64(segment[8:]), little.Uint64(segment[32:])
		if offset+size < offset || offset+size > maxBytes {
			return 0
		}
		if elf.ProgType(little.Uint32(segment)) == elf.PT_LOAD {
			most = max(most, offset+size)
		}
	}
	return int64(most)
}
