package janitor

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
)

// roomKey is where the room is in the mirror: a gzip of text. The first line is
// its head in JSON, then come lines in the order of hashes and keys:
//
//	s HASH RUN REASON DIGEST [TAKEN]   a condemned spec
//	o RUN DIGEST KEY                   a condemned object that belongs to no spec; the key is quoted
//	t HASH RUN [TAKEN]                 a spec that was deleted
//
// RUN and TAKEN are numbers, REASON is a letter, a capital where the brake let
// it through, DIGEST is hexadecimal.
const roomKey = ".spacktainers/janitor/room"

// readRoom reads the room of a mirror. One that is not there, cannot be
// understood, or is that of another mirror, is empty: all that is condemned
// starts to wait anew. Only what the store refuses is an error.
func readRoom(ctx context.Context, store buildcache.Store, mirror string, s *Scan) (*room, error) {
	body, o, err := store.Get(ctx, roomKey)
	if errors.Is(err, fs.ErrNotExist) {
		return &room{lost: "there is no record of an earlier run"}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("room: %w", &buildcache.ObjectError{Key: roomKey, Err: err})
	}
	defer body.Close()
	r := &room{etag: o.ETag}
	counted := &countingReader{r: body}
	err = r.read(counted, s)
	switch {
	case counted.err != nil:
		return nil, fmt.Errorf("room: %w", &buildcache.ObjectError{Key: roomKey, Err: counted.err})
	case err != nil:
		return &room{etag: o.ETag, lost: fmt.Sprintf("%s cannot be read (%v)", roomKey, err)}, nil
	case r.head.Mirror != mirror:
		return &room{etag: o.ETag, lost: fmt.Sprintf("%s belongs to another mirror, %q", roomKey, r.head.Mirror)}, nil
	}
	return r, nil
}

func (r *room) read(from io.Reader, s *Scan) error {
	z, err := gzip.NewReader(bufio.NewReaderSize(from, 1<<16))
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(make([]byte, 1<<16), 16<<20)
	if !lines.Scan() {
		return cmp.Or(lines.Err(), io.ErrUnexpectedEOF)
	}
	if err := json.Unmarshal(lines.Bytes(), &r.head); err != nil {
		return err
	}
	if r.head.Format != roomFormat {
		return fmt.Errorf("format %d is not known here", r.head.Format)
	}
	var specs, lone, tombs int
	for lines.Scan() {
		line := lines.Bytes()
		kind, rest, _ := bytes.Cut(line, []byte(" "))
		switch string(kind) {
		case "s":
			specs++
			err = r.readSpec(rest, s)
		case "o":
			lone++
			err = r.readLone(rest)
		case "t":
			tombs++
			err = r.readTomb(rest)
		default:
			err = errors.New("a line of no kind that is known")
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", specs+lone+tombs+1, err)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if specs != r.head.Specs || lone != r.head.Lone || tombs != r.head.Tombs {
		return io.ErrUnexpectedEOF
	}
	slices.SortFunc(r.tombs, func(a, b tomb) int { return cmpHash(a.hash, b.hash) })
	return nil
}

// readSpec takes a spec that is present. One that is gone though it was only
// to be deleted was deleted by a run that was killed.
func (r *room) readSpec(line []byte, s *Scan) error {
	f := fields{rest: line}
	hash, run, letter, digest, taken := f.text(), f.number(10, 32), f.text(), f.number(16, 64), f.optional()
	if f.err != nil {
		return f.err
	}
	if len(letter) != 1 {
		return errReason
	}
	let := letter[0] >= 'A' && letter[0] <= 'Z'
	why, err := reasonOf(letter[0] | 0x20)
	if err != nil {
		return err
	}
	at, ok := s.dag.lookupText(hash)
	switch {
	case ok && s.present.Has(at):
		r.put(at, entry{digest: digest, run: uint32(run), why: why, let: let, taken: taken})
	case taken != 0:
		h, err := buildcache.ParseHash(string(hash))
		if err != nil {
			return err
		}
		r.tombs = append(r.tombs, tomb{h, r.head.Generation, taken})
	}
	return nil
}

func (r *room) readLone(line []byte) error {
	f := fields{rest: line}
	run, digest := f.number(10, 32), f.number(16, 64)
	if f.err != nil {
		return f.err
	}
	key, err := strconv.Unquote(string(f.rest))
	if err != nil {
		return err
	}
	if n := r.lone.keys.n; n > 0 && string(r.lone.keys.last) >= key {
		return errors.New("not in order")
	}
	r.lone.add([]byte(key), entry{digest: digest, run: uint32(run), why: orphan})
	return nil
}

func (r *room) readTomb(line []byte) error {
	f := fields{rest: line}
	text, run, taken := f.text(), f.number(10, 32), f.optional()
	hash, err := buildcache.ParseHash(string(text))
	r.tombs = append(r.tombs, tomb{hash, uint32(run), taken})
	return errors.Join(f.err, err)
}

// fields are the words of a line.
type fields struct {
	rest []byte
	err  error
}

func (f *fields) text() []byte {
	word, rest, _ := bytes.Cut(f.rest, []byte(" "))
	f.rest = rest
	if len(word) == 0 && f.err == nil {
		f.err = io.ErrUnexpectedEOF
	}
	return word
}

func (f *fields) number(base, bits int) uint64 {
	n, err := strconv.ParseUint(string(f.text()), base, bits)
	if f.err == nil {
		f.err = err
	}
	return n
}

func (f *fields) optional() uint16 {
	if len(f.rest) == 0 {
		return 0
	}
	return uint16(f.number(10, 16))
}

// write puts the room into the mirror, unless another process has written it.
func (r *room) write(ctx context.Context, store buildcache.ReadWriter, s *Scan) error {
	r.trim()
	file, err := index.Scratch()
	if err != nil {
		return err
	}
	defer file.Close()
	if err := r.encode(file, s); err != nil {
		return fmt.Errorf("room: %w", err)
	}
	size, err := file.Seek(0, io.SeekCurrent)
	if err != nil {
		return fmt.Errorf("room: %w", err)
	}
	cond := buildcache.Condition{IfMatch: r.etag, IfNoneMatch: r.etag == ""}
	etag, err := store.Put(ctx, roomKey, file, size, buildcache.PutOptions{ContentType: "application/gzip", Condition: cond})
	if errors.Is(err, buildcache.ErrChanged) {
		return r.lostReply(ctx, store, size, err)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", roomKey, err)
	}
	r.etag = etag
	return nil
}

// lostReply finds out whether the room that is there is what we wrote: the
// reply to a write that was repeated may have been lost.
func (r *room) lostReply(ctx context.Context, store buildcache.ReadWriter, size int64, changed error) error {
	data, o, err := buildcache.ReadAll(ctx, store, roomKey)
	if err != nil {
		return fmt.Errorf("write %s: %w", roomKey, errors.Join(changed, err))
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	var head roomHead
	if err == nil {
		err = json.NewDecoder(z).Decode(&head)
	}
	if err != nil || o.Size != size || head.Generation != r.head.Generation || head.Roots != r.head.Roots || head.Mirror != r.head.Mirror ||
		len(head.Runs) == 0 || head.Runs[len(head.Runs)-1] != r.head.Runs[len(r.head.Runs)-1] {
		return fmt.Errorf("write %s: %w", roomKey, changed)
	}
	r.etag = o.ETag
	return nil
}

func (r *room) encode(to io.Writer, s *Scan) error {
	type numbered struct {
		hash buildcache.Hash
		at   id
	}
	var specs []numbered
	for at := range r.specs {
		if r.specs[at].run != 0 {
			specs = append(specs, numbered{s.dag.hash(id(at)), id(at)})
		}
	}
	slices.SortFunc(specs, func(a, b numbered) int { return cmpHash(a.hash, b.hash) })
	r.head.Specs, r.head.Lone, r.head.Tombs = len(specs), len(r.lone.list), len(r.tombs)
	z := gzip.NewWriter(to)
	w := bufio.NewWriterSize(z, 1<<16)
	head, err := json.Marshal(r.head)
	if err != nil {
		return err
	}
	_, _ = w.Write(append(head, '\n')) // Flush returns its error, and those of all others
	var line []byte
	for _, n := range specs {
		e := r.specs[n.at]
		letter := letters[e.why]
		if e.let {
			letter -= 'a' - 'A'
		}
		line = fmt.Appendf(line[:0], "s %s %d %c %x%s\n", n.hash, e.run, letter, e.digest, set(e.taken))
		_, _ = w.Write(line)
	}
	i := 0
	for keys := r.lone.keys.cursor(); keys.next(); i++ {
		e := r.lone.list[i]
		line = fmt.Appendf(line[:0], "o %d %x %q\n", e.run, e.digest, keys.key)
		_, _ = w.Write(line)
	}
	slices.SortFunc(r.tombs, func(a, b tomb) int { return cmpHash(a.hash, b.hash) })
	for _, t := range r.tombs {
		line = fmt.Appendf(line[:0], "t %s %d%s\n", t.hash, t.run, set(t.taken))
		_, _ = w.Write(line)
	}
	return errors.Join(w.Flush(), z.Close())
}

func set(taken uint16) string {
	if taken == 0 {
		return ""
	}
	return " " + strconv.Itoa(int(taken))
}
