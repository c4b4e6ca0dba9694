package rebuild

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// program is an ELF program of which 300 bytes are loaded, with symbols behind them.
func program(symbols string) []byte {
	b := make([]byte, 300)
	copy(b, "\x7fELF\x02\x01\x01")
	little := binary.LittleEndian
	little.PutUint16(b[0x10:], 3)                          // a shared object
	little.PutUint64(b[0x20:], 64)                         // where program headers begin
	little.PutUint64(b[0x28:], uint64(300+len(symbols)/2)) // where section headers begin
	little.PutUint16(b[0x36:], 56)
	little.PutUint16(b[0x38:], 1)
	little.PutUint16(b[0x3c:], uint16(len(symbols)))
	little.PutUint32(b[64:], 1)      // that is loaded
	little.PutUint64(b[64+32:], 300) // bytes of it
	copy(b[200:], "code")
	return append(b, symbols...)
}

func TestAProgramWithoutItsSymbolsIsTheSame(t *testing.T) {
	of := func(b []byte) file {
		f := file{kind: '0', size: int64(len(b))}
		var err error
		if f.content, f.loaded, err = sums(bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
		return f
	}
	changed := func(at int) []byte {
		b := program("")
		b[at] ^= 1
		return b
	}
	whole := of(program("symbols, and names of sections"))
	if f := of(program("")); !f.stripped(whole) || f.differs(whole) != "" {
		t.Errorf("stripped: it %q", f.differs(whole))
	}
	for name, b := range map[string][]byte{
		"other code": changed(201), "another entry": changed(0x18), "another segment": changed(64 + 16), "cut off": program("")[:299],
		"more behind it": program("symbols, names of sections, and a payload"), "no program": []byte("text"), "empty": nil,
	} {
		if f := of(b); f.stripped(whole) || f.differs(whole) != "another content" {
			t.Errorf("%s: it %q", name, f.differs(whole))
		}
	}
	if text := of([]byte("a text")); text.differs(of([]byte("a longer text"))) != "another content" {
		t.Error("a shorter text is the same")
	}
	for n := range len(program("x")) {
		of(program("x")[:n]) // whatever is cut off
	}
}
