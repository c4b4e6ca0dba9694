package inventory_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/inventory"
)

// delivered are the files of an inventory by their keys.
type delivered map[string][]byte

func (d delivered) Get(_ context.Context, key string) (io.ReadCloser, buildcache.Object, error) {
	body, ok := d[key]
	if !ok {
		return nil, buildcache.Object{}, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(body)), buildcache.Object{Key: key, Size: int64(len(body))}, nil
}

const (
	dir         = "lists/our-cache/daily/"
	manifestKey = dir + "2026-11-01T01-00Z/manifest.json"
	schema      = "Bucket, Key, Size, LastModifiedDate, ETag"
)

var (
	mirror = inventory.Mirror{Bucket: "our-cache", Prefix: "develop"}
	made   = time.Date(2026, 11, 1, 1, 0, 0, 0, time.UTC)
)

// deliver makes an inventory of parts, each of which is CSV.
func deliver(edit func(manifest map[string]any), parts ...string) delivered {
	d := delivered{}
	files := []map[string]any{}
	for i, text := range parts {
		key := fmt.Sprintf("%sdata/%d.csv.gz", dir, i)
		d[key] = zip(text)
		files = append(files, map[string]any{"key": key, "size": len(d[key]), "MD5checksum": sum(d[key])})
	}
	m := map[string]any{
		"sourceBucket": "our-cache", "destinationBucket": "arn:aws:s3:::lists", "version": "2016-11-30",
		"creationTimestamp": fmt.Sprint(made.UnixMilli()), "fileFormat": "CSV", "fileSchema": schema, "files": files,
	}
	if edit != nil {
		edit(m)
	}
	d[manifestKey], _ = json.Marshal(m)
	d.sign()
	return d
}

func (d delivered) sign() {
	d[path.Join(path.Dir(manifestKey), "manifest.checksum")] = []byte(sum(d[manifestKey]) + "\n")
}

func zip(text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, text)
	z.Close()
	return b.Bytes()
}

func sum(b []byte) string {
	s := md5.Sum(b)
	return hex.EncodeToString(s[:])
}

// list returns the objects, with their sizes and ETags as values.
func list(store inventory.Store, prefix string) (map[string]string, error) {
	i, err := inventory.Open(context.Background(), store, manifestKey, mirror)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for o, err := range i.List(context.Background(), prefix) {
		if err != nil {
			return found, err
		}
		found[o.Key] = fmt.Sprintf("%d %s %s", o.Size, o.ETag, o.ModTime.Format(time.RFC3339))
	}
	return found, nil
}

const row = `"our-cache","develop/v3/layout.json","18","2026-10-01T02:03:04.000Z","abc"` + "\n"

func TestListJoinsThePartsOfTheMirror(t *testing.T) {
	d := deliver(nil,
		row+`"our-cache","other/v3/layout.json","18","2026-10-01T02:03:04.000Z","abc"`+"\n",
		`our-cache,develop/a+b%2Bc%25%20%C3%A9%0A%2Fx,0,2026-10-01T02:03:04Z,"""quoted"""`+"\n")
	want := map[string]string{
		"v3/layout.json": "18 abc 2026-10-01T02:03:04Z",
		"a b+c% é\n/x":   "0 quoted 2026-10-01T02:03:04Z",
	}
	if got, err := list(d, ""); err != nil || !maps.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if got, err := list(d, "v3/"); err != nil || len(got) != 1 {
		t.Errorf("below v3/: got %q, %v", got, err)
	}
}

func TestListSkipsWhatWasOverwrittenOrDeleted(t *testing.T) {
	rows := func(name, flags string) string {
		return `"our-cache","develop/` + name + `","v1",` + flags + "\n"
	}
	d := deliver(func(m map[string]any) {
		m["fileSchema"] = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass"
	},
		rows("there", `"true","false","1","2026-10-01T02:03:04.000Z","e","STANDARD"`)+
			rows("overwritten", `"false","false","1","2026-10-01T02:03:04.000Z","e","STANDARD"`)+
			rows("deleted", `"true","true","","2026-10-01T02:03:04.000Z","",""`)+
			rows("deleted", `"false","false","1","2026-10-01T02:03:04.000Z","e","STANDARD"`))
	got, err := list(d, "")
	if keys := slices.Collect(maps.Keys(got)); err != nil || !slices.Equal(keys, []string{"there"}) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestAtIsWhenItWasMade(t *testing.T) {
	i, err := inventory.Open(t.Context(), deliver(nil), manifestKey, mirror)
	if err != nil || !i.At().Equal(made) {
		t.Errorf("got %v, %v", i, err)
	}
}

// Of the files of an inventory, people copy some.
func TestPartsAreFoundWhereTheyWereCopied(t *testing.T) {
	whole := deliver(nil, row)
	part := whole[dir+"data/0.csv.gz"]
	for name, d := range map[string]delivered{
		"the folder of the inventory": {"2026/manifest.json": whole[manifestKey], "data/0.csv.gz": part},
		"all files side by side":      {"manifest.json": whole[manifestKey], "0.csv.gz": part},
	} {
		t.Run(name, func(t *testing.T) {
			key := "manifest.json"
			if _, ok := d[key]; !ok {
				key = "2026/" + key
			}
			i, err := inventory.Open(t.Context(), d, key, mirror)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, err := range i.List(t.Context(), "") {
				if n++; err != nil {
					t.Error(err)
				}
			}
			if n != 1 {
				t.Errorf("got %d objects", n)
			}
		})
	}
}

func TestWhatIsNotWholeIsRefused(t *testing.T) {
	cut := func(d delivered, key string, n int) delivered {
		d[key] = d[key][:len(d[key])-n]
		return d
	}
	part := dir + "data/0.csv.gz"
	long := deliver(nil, strings.Repeat(row, 5000))
	edited := func(key string, value any) delivered {
		return deliver(func(m map[string]any) { m[key] = value }, row)
	}
	unsigned := deliver(nil, row)
	unsigned[manifestKey] = append(unsigned[manifestKey], ' ')
	replaced := deliver(nil, row)
	replaced[part] = zip(strings.Replace(row, "18", "19", 1))
	gone := deliver(nil, row)
	delete(gone, part)
	for name, tt := range map[string]struct {
		store delivered
		want  string
	}{
		"a part is cut in its middle":        {cut(maps.Clone(long), part, 100), "unexpected EOF: the manifest says"},
		"a part is cut at its end":           {cut(deliver(nil, row), part, 1), "unexpected EOF: the manifest says"},
		"a part is empty":                    {cut(deliver(nil, row), part, len(zip(row))), "unexpected EOF: the manifest says"},
		"a part is another one":              {replaced, "its MD5 is another"},
		"a part is missing":                  {gone, "data/0.csv.gz: file does not exist"},
		"the manifest is another one":        {unsigned, "manifest.checksum"},
		"the manifest is missing":            {delivered{}, "manifest.json: file does not exist"},
		"the manifest is no JSON":            {delivered{manifestKey: []byte(`{"files":[`)}, "unexpected end of JSON"},
		"another bucket":                     {edited("sourceBucket", "theirs"), `it is of bucket "theirs", the mirror is in "our-cache"`},
		"ORC":                                {edited("fileFormat", "ORC"), `its format is "ORC": only CSV is read here`},
		"no date":                            {edited("creationTimestamp", "today"), "creationTimestamp"},
		"no files":                           {edited("files", nil), "it lists no files"},
		"no ETag":                            {edited("fileSchema", "Bucket, Key, Size, LastModifiedDate"), "it has no column ETag"},
		"a column twice":                     {edited("fileSchema", schema+", Key"), "column Key is there twice"},
		"versions, but not which is current": {edited("fileSchema", schema+", VersionId"), "no columns IsLatest and IsDeleteMarker"},
		"a column more in the rows":          {deliver(nil, strings.TrimSpace(row)+",x\n"), "wrong number of fields"},
		"a row of another bucket":            {deliver(nil, strings.Replace(row, "our", "their", 1)), `row 1: format: bucket "their-cache"`},
		"a row without an end":               {deliver(nil, row+`"our-cache","`+strings.Repeat("\n", 1<<20)), "row 2: format: it has more than 65536 bytes"},
		"a size that is none":                {deliver(nil, strings.Replace(row, "18", "-1", 1)), `size "-1"`},
		"a date that is none":                {deliver(nil, strings.Replace(row, "T", " ", 1)), `date "2026`},
		"an empty ETag":                      {deliver(nil, strings.Replace(row, "abc", "", 1)), "has no ETag"},
		"a key that is not encoded":          {deliver(nil, strings.Replace(row, "v3", "%v3", 1)), "want it URL-encoded"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := list(tt.store, "")
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "inventory "+manifestKey) {
				t.Errorf("got %d objects, %v, want %q", len(got), err, tt.want)
			}
		})
	}
}

func TestACallerMayStop(t *testing.T) {
	i, err := inventory.Open(t.Context(), deliver(nil, row+row, row), manifestKey, mirror)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for range i.List(t.Context(), "") {
		n++
		break
	}
	if n != 1 {
		t.Errorf("got %d objects", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if i, err = inventory.Open(t.Context(), deliver(nil, strings.Repeat(row, 3000)), manifestKey, mirror); err != nil {
		t.Fatal(err)
	}
	for _, last := range i.List(ctx, "") {
		err = last
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// FuzzList feeds the reader with parts of any content. What it yields has all
// that an object must have, and a change of any byte of the packed part is
// noticed.
func FuzzList(f *testing.F) {
	f.Add(row, "Bucket, Key, Size, LastModifiedDate, ETag", 0)
	f.Add(row+"our-cache,develop/a+b,1,2026-10-01T02:03:04Z,e\n", schema, 7)
	f.Add(`our-cache,develop/a,true,false,1,2026-10-01T02:03:04Z,e`, "Bucket, Key, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag", 20)
	f.Fuzz(func(t *testing.T, text, schema string, flip int) {
		d := deliver(func(m map[string]any) { m["fileSchema"] = schema }, text)
		i, err := inventory.Open(t.Context(), d, manifestKey, mirror)
		if err != nil {
			return
		}
		for o, err := range i.List(t.Context(), "") {
			if err == nil && (o.Key == "" || o.ETag == "" || o.Size < 0) {
				t.Errorf("got %+v", o)
			}
		}
		part := d[dir+"data/0.csv.gz"]
		part[uint(flip)%uint(len(part))] ^= 1
		err = nil
		for _, last := range i.List(t.Context(), "") {
			err = last
		}
		if err == nil {
			t.Error("a changed part was read as if it were whole")
		}
	})
}

func BenchmarkList(b *testing.B) {
	const rows = 100_000
	var text strings.Builder
	for n := range rows {
		s := sum(fmt.Append(nil, n))
		fmt.Fprintf(&text, "\"our-cache\",\"develop/blobs/sha256/%s/%s%s\",\"%d\",\"2026-10-01T02:03:04.000Z\",\"%s\"\n", s[:2], s, s, n, s)
	}
	i, err := inventory.Open(b.Context(), deliver(nil, text.String()), manifestKey, mirror)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, err := range i.List(b.Context(), "") {
			if n++; err != nil {
				b.Fatal(err)
			}
		}
		if n != rows {
			b.Fatalf("got %d objects", n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*rows), "ns/object")
}
