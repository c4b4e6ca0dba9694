package room

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
	"github.com/openbraininstitute/spacktainers/janitor/dag"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// Key is where the room is in the mirror: a gzip of text. The first line is
// its head in JSON, then come lines in the order of hashes and keys:
//
//	s HASH RUN REASON DIGEST [TAKEN]   a condemned spec
//	o RUN DIGEST KEY                   a condemned object that belongs to no spec; the key is quoted
//	t HASH RUN [TAKEN]                 a spec that was deleted
//
// RUN and TAKEN are numbers, REASON is a letter, a capital where the brake let
// it through, DIGEST is hexadecimal.
const Key = ".spacktainers/janitor/room"

// Read reads the room of a mirror. One that is not there, cannot be
// understood, or is that of another mirror, condemns nothing: all starts to
// wait anew. What a room of another mirror tells of the past is known, since
// this mirror may be a copy of that one. Only what the store refuses is an
// error.
func Read(ctx context.Context, store buildcache.Store, mirror string, s *scan.Scan) (*Room, error) {
	body, o, err := store.Get(ctx, Key)
	if errors.Is(err, fs.ErrNotExist) {
		return &Room{Lost: "there is no record of an earlier run"}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("room: %w", &buildcache.ObjectError{Key: Key, Err: err})
	}
	defer body.Close()
	r := &Room{ETag: o.ETag}
	counted := &scan.StoreReader{R: body}
	err = r.read(counted, s)
	switch {
	case counted.Err != nil:
		return nil, fmt.Errorf("room: %w", &buildcache.ObjectError{Key: Key, Err: counted.Err})
	case err != nil:
		return &Room{ETag: o.ETag, Lost: fmt.Sprintf("%s cannot be read (%v)", Key, err)}, nil
	case r.Head.Mirror != mirror:
		r.Lost = fmt.Sprintf("%s belongs to another mirror, %q", Key, r.Head.Mirror)
		r.forgetWaits(s)
	}
	return r, nil
}

func (r *Room) read(from io.Reader, s *scan.Scan) error {
	z, err := gzip.NewReader(bufio.NewReaderSize(from, 1<<16))
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(make([]byte, 1<<16), 16<<20)
	if !lines.Scan() {
		return cmp.Or(lines.Err(), io.ErrUnexpectedEOF)
	}
	if err := json.Unmarshal(lines.Bytes(), &r.Head); err != nil {
		return err
	}
	if r.Head.Format != roomFormat {
		return fmt.Errorf("format %d is not known here", r.Head.Format)
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
	if specs != r.Head.Specs || lone != r.Head.Lone || tombs != r.Head.Tombs {
		return io.ErrUnexpectedEOF
	}
	slices.SortFunc(r.Tombs, func(a, b Tomb) int { return cmpHash(a.Hash, b.Hash) })
	return nil
}

// forgetWaits forgets what is condemned, but for what was taken out of indexes: a
// copy has these as the run has left them that took it out.
func (r *Room) forgetWaits(s *scan.Scan) {
	for at, e := range r.Specs {
		if e.Taken != 0 {
			r.Tombs = append(r.Tombs, Tomb{s.DAG.Hash(dag.ID(at)), r.Head.Generation, e.Taken})
		}
	}
	r.Specs, r.Lone = nil, LoneEntries{}
	slices.SortFunc(r.Tombs, func(a, b Tomb) int { return cmpHash(a.Hash, b.Hash) })
}

// readSpec takes a spec that is present. One that is gone though it was only
// to be deleted was deleted by a run that was killed.
func (r *Room) readSpec(line []byte, s *scan.Scan) error {
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
	at, ok := s.DAG.LookupText(hash)
	switch {
	case ok && s.Present.Has(at):
		r.Put(at, Entry{Digest: digest, Run: uint32(run), Why: why, Let: let, Taken: taken})
	case taken != 0:
		h, err := buildcache.ParseHash(string(hash))
		if err != nil {
			return err
		}
		r.Tombs = append(r.Tombs, Tomb{h, r.Head.Generation, taken})
	}
	return nil
}

func (r *Room) readLone(line []byte) error {
	f := fields{rest: line}
	run, digest := f.number(10, 32), f.number(16, 64)
	if f.err != nil {
		return f.err
	}
	key, err := strconv.Unquote(string(f.rest))
	if err != nil {
		return err
	}
	if n := r.Lone.Keys.N; n > 0 && string(r.Lone.Keys.Last) >= key {
		return errors.New("not in order")
	}
	r.Lone.Add([]byte(key), Entry{Digest: digest, Run: uint32(run), Why: Orphan})
	return nil
}

func (r *Room) readTomb(line []byte) error {
	f := fields{rest: line}
	text, run, taken := f.text(), f.number(10, 32), f.optional()
	hash, err := buildcache.ParseHash(string(text))
	r.Tombs = append(r.Tombs, Tomb{hash, uint32(run), taken})
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

// Write puts the room into the mirror, unless another process has written it.
func (r *Room) Write(ctx context.Context, store buildcache.ReadWriter, s *scan.Scan) error {
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
	cond := buildcache.Condition{IfMatch: r.ETag, IfNoneMatch: r.ETag == ""}
	etag, err := store.Put(ctx, Key, file, size, buildcache.PutOptions{ContentType: "application/gzip", Condition: cond})
	if errors.Is(err, buildcache.ErrChanged) {
		return r.lostReply(ctx, store, size, err)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", Key, err)
	}
	r.ETag = etag
	return nil
}

// lostReply finds out whether the room that is there is what we wrote: the
// reply to a write that was repeated may have been lost.
func (r *Room) lostReply(ctx context.Context, store buildcache.ReadWriter, size int64, changed error) error {
	data, o, err := buildcache.ReadAll(ctx, store, Key)
	if err != nil {
		return fmt.Errorf("write %s: %w", Key, errors.Join(changed, err))
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	var head Head
	if err == nil {
		err = json.NewDecoder(z).Decode(&head)
	}
	if err != nil || o.Size != size || head.Generation != r.Head.Generation || head.Roots != r.Head.Roots || head.Mirror != r.Head.Mirror ||
		len(head.Runs) == 0 || head.Runs[len(head.Runs)-1] != r.Head.Runs[len(r.Head.Runs)-1] {
		return fmt.Errorf("write %s: %w", Key, changed)
	}
	r.ETag = o.ETag
	return nil
}

func (r *Room) encode(to io.Writer, s *scan.Scan) error {
	type numbered struct {
		hash buildcache.Hash
		at   dag.ID
	}
	var specs []numbered
	for at := range r.Specs {
		if r.Specs[at].Run != 0 {
			specs = append(specs, numbered{s.DAG.Hash(dag.ID(at)), dag.ID(at)})
		}
	}
	slices.SortFunc(specs, func(a, b numbered) int { return cmpHash(a.hash, b.hash) })
	r.Head.Specs, r.Head.Lone, r.Head.Tombs = len(specs), len(r.Lone.List), len(r.Tombs)
	z := gzip.NewWriter(to)
	w := bufio.NewWriterSize(z, 1<<16)
	head, err := json.Marshal(r.Head)
	if err != nil {
		return err
	}
	_, _ = w.Write(append(head, '\n')) // Flush returns its error, and those of all others
	var line []byte
	for _, n := range specs {
		e := r.Specs[n.at]
		letter := letters[e.Why]
		if e.Let {
			letter -= 'a' - 'A'
		}
		line = fmt.Appendf(line[:0], "s %s %d %c %x%s\n", n.hash, e.Run, letter, e.Digest, set(e.Taken))
		_, _ = w.Write(line)
	}
	i := 0
	for keys := r.Lone.Keys.Cursor(); keys.Next(); i++ {
		e := r.Lone.List[i]
		line = fmt.Appendf(line[:0], "o %d %x %q\n", e.Run, e.Digest, keys.Key)
		_, _ = w.Write(line)
	}
	slices.SortFunc(r.Tombs, func(a, b Tomb) int { return cmpHash(a.Hash, b.Hash) })
	for _, t := range r.Tombs {
		line = fmt.Appendf(line[:0], "t %s %d%s\n", t.Hash, t.Run, set(t.Taken))
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
