package sifstore

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/sif"
)

// A disk is a folder that SIFs are installed in. Others of the same cluster may
// be able to write to it as well, so nothing in it is followed or trusted: a
// file counts if it is a plain one, with one name, of a user who may change the
// folder anyway. What is new is written in a folder that is ours alone, and
// then renamed; a rename follows no links, and what it has brought into place
// is looked at again.
type disk struct {
	path  string // absolute
	root  *os.Root
	owner int
	stage *os.Root // of our own folder in it; nil until openStage
}

// stagePrefix begins the name of our own folder. It stays, for what an
// interrupted call has fetched.
const stagePrefix = ".sif-install-"

// openDisk opens a folder that is there. Its error wraps fs.ErrNotExist where
// it is not.
func openDisk(dir string) (*disk, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	d := &disk{path: path, root: root}
	info, err := root.Stat(".")
	if err == nil && info.Mode()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
		err = fmt.Errorf("%s: everybody may replace the files in it: chmod o-w %[1]s, or name another folder", dir)
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	d.owner, _ = owner(info)
	return d, nil
}

// Close closes the folder. A nil disk is one that is not there.
func (d *disk) Close() {
	if d == nil {
		return
	}
	d.root.Close()
	if d.stage != nil {
		d.stage.Close()
	}
}

func (d *disk) stageName() string { return stagePrefix + strconv.Itoa(os.Getuid()) }

// openStage opens the folder that is ours alone, and removes what was left in
// it more than a day ago. It is what was opened that must be ours, not what had
// the name before.
func (d *disk) openStage() error {
	name := d.stageName()
	if err := d.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	named, err := d.root.Lstat(name)
	if err != nil {
		return err
	}
	inTheWay := fmt.Errorf("%s is no folder of ours alone: another user has put it there: remove it", filepath.Join(d.path, name))
	if !named.IsDir() {
		return inTheWay
	}
	if d.stage, err = openFolder(d.root, name); err != nil {
		return fmt.Errorf("%w (%v)", inTheWay, err)
	}
	opened, err := d.stage.Stat(".")
	if err != nil {
		return err
	}
	if uid, _ := owner(opened); uid != os.Getuid() || opened.Mode()&0o077 != 0 {
		return inTheWay
	}
	entries, err := fs.ReadDir(d.stage.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > sif.PartAge {
			if err := d.stage.RemoveAll(e.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

// trusts reports whether a user may change the folder's files anyway: we,
// root, and whose folder it is.
func (d *disk) trusts(uid int) bool { return uid == os.Getuid() || uid == 0 || uid == d.owner }

// lookAt describes a file of the folder. Anything but a plain file with one
// name, of a trusted user, is an error, and so is a folder that is
// not there.
func (d *disk) lookAt(name string) (fs.FileInfo, error) {
	if d == nil {
		return nil, fs.ErrNotExist
	}
	info, err := d.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	return info, d.plain(name, info)
}

func (d *disk) plain(name string, info fs.FileInfo) error {
	what := ""
	uid, names := owner(info)
	switch mode := info.Mode(); {
	case mode&fs.ModeSymlink != 0:
		what = "is a symbolic link"
	case mode.IsDir():
		what = "is a folder"
	case !mode.IsRegular():
		what = "is no file"
	case names != 1:
		what = "is a file with another name elsewhere (a hard link)"
	case !d.trusts(uid):
		return fmt.Errorf("%s belongs to user %d, who could change it at any time: remove it, and let one user fill the folder", filepath.Join(d.path, name), uid)
	default:
		return nil
	}
	return fmt.Errorf("%s %s, which sif:install does not make: remove it", filepath.Join(d.path, name), what)
}

// open opens a plain file for reading, and nothing that has taken its place.
func (d *disk) open(name string) (*os.File, fs.FileInfo, error) {
	if _, err := d.lookAt(name); err != nil {
		return nil, nil, err
	}
	file, err := d.root.OpenFile(name, os.O_RDONLY|noWait, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err == nil {
		err = d.plain(name, info)
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, info, nil
}

func (d *disk) hash(name string) (string, error) {
	file, _, err := d.open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	h := sha256.New()
	_, err = io.Copy(h, file)
	return hex.EncodeToString(h.Sum(nil)), err
}

// manifest reads the manifest of a container, which is empty where there is
// none. One that others could have written says nothing.
func (d *disk) manifest(container string) (*Manifest, error) {
	none := &Manifest{Name: container, Newest: map[string]Latest{}}
	key := manifestKey(container)
	if d == nil {
		return none, nil
	}
	file, info, err := d.open(key)
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info.Mode()&0o022 != 0 {
		return none, nil
	}
	text, err := io.ReadAll(io.LimitReader(file, maxManifest+1))
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(text, Keys{}, container)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: remove it, and all files are read again", filepath.Join(d.path, key), err)
	}
	return m, nil
}

// temporary is a name in our own folder that nothing has.
func temporary() string { return strconv.FormatUint(rand.Uint64(), 36) + sif.PartExt }
