package assemble

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/openbraininstitute/spacktainers/internal/image"
)

// A note is what a build has found out and keeps for the next one: a line with
// its checksum, then JSON. One that is damaged is as if it were not there.
type note string

// notes names a note. The number at the end of a kind goes up when what is
// noted changes.
func (b Builder) notes(kind, name string) note {
	return note(filepath.Join(b.Work, kind, name+".json"))
}

func (n note) load(v any) bool {
	data, err := os.ReadFile(string(n))
	if err != nil {
		return false
	}
	sum, text, ok := bytes.Cut(data, []byte("\n"))
	return ok && string(sum) == checksum(text) && json.Unmarshal(text, v) == nil
}

func (n note) save(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(string(n)), 0o755); err != nil {
		return err
	}
	return image.WriteFile(string(n), append([]byte(checksum(text)+"\n"), text...))
}

func checksum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
