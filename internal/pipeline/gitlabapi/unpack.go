package gitlabapi

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// An unpacker writes the files of archives below a folder.
type unpacker struct {
	root   *os.Root
	wanted *regexp.Regexp
	limits Limits
	bytes  int64
	files  int
	from   map[string]string // name of the job that a file is of, by its path
}

// unpack writes the wanted files of an archive. It refuses an archive with a name that leads out of
// the folder, and passes over what is neither a file nor a folder.
func (u *unpacker) unpack(archive *os.File, job string) (written []string, err error) {
	info, err := archive.Stat()
	if err != nil {
		return nil, err
	}
	z, err := zip.NewReader(archive, info.Size())
	if err != nil {
		return nil, fmt.Errorf("no zip archive: %w", err)
	}
	written = []string{}
	for _, f := range z.File {
		name := f.Name
		if strings.ContainsAny(name, "\\\x00") || !filepath.IsLocal(strings.TrimSuffix(name, "/")) {
			return written, fmt.Errorf("it names %.80q, which is not in it", name)
		}
		name = path.Clean(name)
		if !f.Mode().IsRegular() || strings.HasSuffix(f.Name, "/") || !u.wanted.MatchString(name) {
			continue
		}
		if u.files++; u.files > u.limits.Files {
			return written, fmt.Errorf("%w: %d files", errTooMuch, u.limits.Files)
		}
		if err := u.write(f, name, job); err != nil {
			return written, fmt.Errorf("%.80q: %w", name, err)
		}
		written = append(written, name)
	}
	return written, nil
}

// write writes one file. One of the same path that another job has left must be the same.
func (u *unpacker) write(f *zip.File, name, job string) error {
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	if old, ok := u.from[name]; ok {
		return u.same(r, name, old)
	}
	if err := u.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	if err := u.root.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) { // of an earlier call, or a link that others left
		return err
	}
	out, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644|f.Mode().Perm()&0o111)
	if err != nil {
		return err
	}
	n, err := limited(out, r, u.limits.Bytes-u.bytes)
	u.bytes += n
	u.from[name] = job
	return errors.Join(err, out.Close())
}

func (u *unpacker) same(r io.Reader, name, old string) error {
	sum := sha256.New()
	n, err := limited(sum, r, u.limits.Bytes-u.bytes)
	u.bytes += n
	if err != nil {
		return err
	}
	there, err := u.root.Open(name)
	if err != nil {
		return err
	}
	defer there.Close()
	before := sha256.New()
	if _, err := io.Copy(before, there); err != nil {
		return err
	}
	if !bytes.Equal(sum.Sum(nil), before.Sum(nil)) {
		return fmt.Errorf("job %q has another file of this path: gather one of the two by --jobs", old)
	}
	return nil
}
