package image

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Create hands an empty folder to write, which fills it with a layout and says
// what it is; then the folder, the lockfile and the record take the place of
// what was there. When that fails, what was there before is there again; when
// the process is killed, there is the old image, the new one, or none, and the
// next Create removes the leftovers. One process writes an image at a time.
func (t Tree) Create(name, platform string, lock []byte, write func(dir string) (Record, error)) (Record, error) {
	home := filepath.Join(string(t), name)
	if err := os.MkdirAll(home, 0o755); err != nil {
		return Record{}, err
	}
	unlock, err := lockFolder(home, slug(platform))
	if err != nil {
		return Record{}, err
	}
	defer unlock()
	s := swap{places: []string{t.recordFile(name, platform), t.Dir(name, platform), t.LockFile(name, platform)}}
	if err := s.clear(); err != nil {
		return Record{}, err
	}
	defer s.clear()
	dir := s.part(1)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return Record{}, err
	}
	record, err := write(dir)
	if err != nil {
		return Record{}, err
	}
	text, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return Record{}, err
	}
	if err := os.WriteFile(s.part(0), append(text, '\n'), 0o644); err != nil {
		return Record{}, err
	}
	if err := os.WriteFile(s.part(2), lock, 0o644); err != nil {
		return Record{}, err
	}
	// After a power cut no record may stand for a layout whose bytes are lost.
	if err := syncFiles(home); err != nil {
		return Record{}, err
	}
	return record, s.do()
}

// A swap puts new files and folders in the place of old ones. The first place
// is the record's: it goes first and comes last, so that whenever it is there,
// it is true.
type swap struct{ places []string }

func (s swap) part(i int) string { return s.places[i] + ".part" }
func (s swap) old(i int) string  { return s.places[i] + ".old" }

// clear removes what another swap may have left.
func (s swap) clear() error {
	var errs []error
	for i := range s.places {
		errs = append(errs, os.RemoveAll(s.part(i)), os.RemoveAll(s.old(i)))
	}
	return errors.Join(errs...)
}

func (s swap) do() error {
	for i, place := range s.places {
		if err := os.Rename(place, s.old(i)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(err, s.undo())
		}
	}
	for i := len(s.places) - 1; i >= 0; i-- {
		if err := os.Rename(s.part(i), s.places[i]); err != nil {
			return errors.Join(err, s.undo())
		}
	}
	return nil
}

// undo brings back what was there, the record last.
func (s swap) undo() error {
	var errs []error
	for i := len(s.places) - 1; i >= 0; i-- {
		if _, err := os.Lstat(s.old(i)); errors.Is(err, fs.ErrNotExist) {
			continue // it has not been moved, or was not there
		}
		errs = append(errs, os.RemoveAll(s.places[i]), os.Rename(s.old(i), s.places[i]))
	}
	return errors.Join(errs...)
}
