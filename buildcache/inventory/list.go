package inventory

import (
	"context"
	"crypto/md5"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"iter"
	"path"
	"strings"

	"github.com/klauspost/compress/gzip"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// List yields the objects of the mirror whose keys begin with prefix, in the
// order of the inventory, which is none. Each call reads all parts, a part at a
// time: a caller that wants several prefixes lists their common one, and chooses.
//
// Whether a part is what S3 wrote is known at its end only. An error ends the
// sequence, and what came before it is then not all there is, nor certain.
func (i *Inventory) List(ctx context.Context, prefix string) iter.Seq2[buildcache.Object, error] {
	return func(yield func(buildcache.Object, error) bool) {
		for _, p := range i.parts {
			more, err := i.listPart(ctx, p, func(o buildcache.Object) bool {
				return !strings.HasPrefix(o.Key, prefix) || yield(o, nil)
			})
			if err != nil {
				yield(buildcache.Object{}, fmt.Errorf("inventory %s: %s: %w", i.key, p.Key, err))
			}
			if err != nil || !more {
				return
			}
		}
	}
}

// listPart hands on the objects of one part until yield has enough.
func (i *Inventory) listPart(ctx context.Context, p part, yield func(buildcache.Object) bool) (more bool, err error) {
	body, err := i.openPart(ctx, p)
	if err != nil {
		return false, err
	}
	defer body.Close()
	whole := &checked{r: io.LimitReader(body, p.Size+1), sum: md5.New()}
	stopped := false
	err = i.rows(ctx, whole, func(o buildcache.Object) bool {
		stopped = !yield(o)
		return !stopped
	})
	if stopped {
		return false, nil
	}
	if wrong := whole.check(p); wrong != nil {
		return false, wrong // says more than what it led to
	}
	return err == nil, err
}

// openPart opens a part where the manifest says that it is, or where it is
// when the folder of the inventory, or all its files, were copied.
func (i *Inventory) openPart(ctx context.Context, p part) (body io.ReadCloser, err error) {
	dir, name := path.Dir(i.key), path.Base(p.Key)
	for _, key := range []string{p.Key, path.Join(path.Dir(dir), "data", name), path.Join(dir, name)} {
		body, _, err = i.store.Get(ctx, key)
		if !errors.Is(err, fs.ErrNotExist) {
			return body, err
		}
	}
	return nil, err
}

// rows reads a part as it is unpacked.
func (i *Inventory) rows(ctx context.Context, r io.Reader, yield func(buildcache.Object) bool) error {
	text, err := gzip.NewReader(r)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	in := &bounded{r: text}
	rows := csv.NewReader(in)
	rows.ReuseRecord = true
	rows.FieldsPerRecord = i.columns.count
	for n := 1; ; n++ {
		in.left = maxRow
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("row %d: %w", n, err)
		}
		o, ok, err := i.columns.object(row, i.mirror)
		if err != nil {
			return fmt.Errorf("row %d: %w", n, err)
		}
		if ok && !yield(o) {
			return nil
		}
		if n%1000 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// maxRow is in bytes: a key has 1024 at most, and three times as many when it is encoded.
const maxRow = 64 << 10

// A bounded reader ends where a row does not: a quote that is never closed, or what was packed to
// fill the memory of who unpacks it.
type bounded struct {
	r    io.Reader
	left int // bytes that the row may still take
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, fmt.Errorf("%w: it has more than %d bytes", buildcache.ErrFormat, maxRow)
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// checked reads what is to have a checksum.
type checked struct {
	r   io.Reader
	sum hash.Hash
	n   int64
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.sum.Write(p[:n])
	return n, err
}

// check reads the rest, and reports whether all of it is what the manifest means.
func (c *checked) check(p part) error {
	if _, err := io.Copy(io.Discard, c); err != nil {
		return err
	}
	if c.n < p.Size {
		return fmt.Errorf("%w: the manifest says %d bytes, there are %d", io.ErrUnexpectedEOF, p.Size, c.n)
	}
	if sum := hex.EncodeToString(c.sum.Sum(nil)); c.n > p.Size || !strings.EqualFold(sum, p.MD5) {
		return fmt.Errorf("%w: it is not the file that the manifest means: its MD5 is another", buildcache.ErrFormat)
	}
	return nil
}
