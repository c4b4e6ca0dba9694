package sif

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// What squashfs cannot hold is left out and said; either program takes the rest.
func TestAttributesThatASIFCannotHoldAreLeftOut(t *testing.T) {
	long := "user." + strings.Repeat("x", 300)
	odd := map[string]string{
		"system.posix_acl_access": "\x02\x00\x00\x00", "system.posix_acl_default": "\x02\x00\x00\x00", "com.apple.provenance": "\x01\x02", "lustre.lov": "x", "btrfs.compression": "zstd",
		"user": "x", "user.": "x", "USER.x": "x", "": "x", "odd\x1b[2J\nname": "x", long: "x", "user.large": strings.Repeat("x", 100_000),
	}
	for _, p := range packers {
		t.Run(p.program, func(t *testing.T) {
			needPacker(t, p)
			for name, value := range odd {
				b := native(t)
				b.Engine = Native{p}
				var said []string
				b.Warn = func(sentence string) { said = append(said, sentence) }
				e := xattr(regular("x", "content"), name, value)
				e.PAXRecords[xattrRecord+"user.kept"] = "kept"
				e.PAXRecords["LIBARCHIVE.xattr."+name] = "AQI="
				build(t, b, "amd64", v1.Config{}, layerOf(t, e))
				if want := fmt.Sprintf("%.100q of 1", name); len(said) != 1 || !strings.Contains(said[0], want) || strings.ContainsFunc(said[0], unicode.IsControl) || strings.Contains(said[0], "kept") {
					t.Errorf("%.40q: said %.300q", name, said)
				}
			}
		})
	}
}

func TestAttributesThatStay(t *testing.T) {
	b := native(t)
	b.Warn = func(sentence string) { t.Error(sentence) }
	build(t, b, "amd64", v1.Config{}, layerOf(t,
		xattr(regular("a", "x"), "user.comment", ""), xattr(folder("b"), "user.comment", "x"), xattr(program("c", "x"), "security.capability", "\x01\x00\x00\x02"),
		xattr(symlink("d", "a"), "trusted.x", "x"), xattr(regular("e", "x"), "security.selinux", "x"), xattr(regular("f", "x"), "trusted.overlay.origin", "x")))
}

// An archive's first entry may be one for all, as git archive writes it.
func TestGlobalHeadersSayNothing(t *testing.T) {
	global := entry{Header: tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": "abab", "path": "elsewhere", "mtime": "1"}}}
	tree, err := flatten(t.Context(), []v1.Layer{layerOf(t, global, regular("a", "content"), global)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.find("a"); err != nil || len(tree.root.children) != 1 {
		t.Errorf("the image holds %v, %v", tree.root.children, err)
	}
	for _, p := range packers {
		needPacker(t, p)
		b := native(t)
		b.Engine = Native{p}
		build(t, b, "amd64", v1.Config{}, layerOf(t, global, regular("a", "content"), global, regular("b", "content")))
	}
}

// A second archive behind the end of the first is none of the image, and is not read.
func TestASecondArchiveIsNotRead(t *testing.T) {
	first, second := archiveOf(t, regular("a", "a")), archiveOf(t, regular("hidden", "x"), regular("a", "other"))
	bomb := append(slices.Clone(first), bytes.Repeat([]byte{0}, 64<<20)...)
	for name, text := range map[string][]byte{"another": append(slices.Clone(first), second...), "zeros": bomb} {
		tree, err := flatten(t.Context(), []v1.Layer{openLayer(t, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil })})
		if err != nil {
			t.Fatal(name, err)
		}
		if names := len(tree.root.children); names != 1 {
			t.Errorf("%s: the image holds %d names", name, names)
		}
	}
}

func archiveOf(t *testing.T, entries ...entry) []byte {
	t.Helper()
	body, err := layerOf(t, entries...).Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// What no container engine could unpack is refused by name, not made into something else: an owner
// of 33 bits would be root.
func TestEntriesThatLinuxCannotHoldAreRefused(t *testing.T) {
	for want, e := range map[string]entry{
		"a name of 300 bytes":            regular(strings.Repeat("n", 300), "x"),
		"a path of 5001 bytes":           regular(strings.Repeat("nnnn/", 1000)+"x", "x"),
		"a link to a path of 0 bytes":    symlink("x", ""),
		"a link to a path of 8000 bytes": symlink("x", strings.Repeat("n/", 4000)),
		"owner 8589934592:0":             with(program("x", "x"), func(h *tar.Header) { h.Uid = 1 << 33; h.Mode = 0o4755 }),
		"owner 0:4294967296":             with(program("x", "x"), func(h *tar.Header) { h.Gid = 1 << 32; h.Mode = 0o2755 }),
		"device 5000:1":                  {Header: tar.Header{Typeflag: tar.TypeChar, Name: "x", Devmajor: 5000, Devminor: 1}},
		"device 1:2097152":               {Header: tar.Header{Typeflag: tar.TypeBlock, Name: "x", Devmajor: 1, Devminor: 1 << 21}},
		"hard link to b":                 hardlink("a", "b"),
		"hard link to f, a folder":       hardlink("f/a", "f"),
	} {
		_, err := flatten(t.Context(), []v1.Layer{layerOf(t, folder("f"), e)})
		if err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 1000 {
			t.Errorf("%s: got %v", want, err)
		}
	}
}

func TestTimesThatSquashfsCannotHold(t *testing.T) {
	for _, p := range packers {
		needPacker(t, p)
		b := native(t)
		b.Engine = Native{p}
		for _, year := range []int{1900, 2200, 9999} {
			build(t, b, "amd64", v1.Config{}, layerOf(t, with(regular("x", "y"), func(h *tar.Header) { h.ModTime = time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC) })))
		}
	}
}

// A kilobyte can say that it is exabytes, and a megabyte that it is a million folders.
func TestLayersAreBounded(t *testing.T) {
	tree := newTree()
	for i := range 3 {
		err := tree.apply(i, &tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprint(i), Size: maxContent / 2})
		if refused := err != nil; refused != (i == 2) {
			t.Errorf("after %d halves: %v", i+1, err)
		}
	}
	if err := newTree().apply(0, &tar.Header{Typeflag: tar.TypeGNUSparse, Name: "x", Size: 1 << 62}); err == nil {
		t.Error("a sparse file of exabytes is accepted")
	}
	tree = newTree()
	deep := strings.Repeat("d/", 2000)
	if err := tree.apply(0, &tar.Header{Typeflag: tar.TypeDir, Name: deep}); err != nil || tree.memory < 2000*nodeMemory {
		t.Errorf("two thousand folders count for %d bytes, %v", tree.memory, err)
	}
	tree.memory = maxMemory
	if err := tree.apply(1, &tar.Header{Typeflag: tar.TypeDir, Name: "x"}); err == nil || !strings.Contains(err.Error(), "memory") {
		t.Errorf("one more: %v", err)
	}
	tree = newTree()
	for i := 0; tree.memory <= maxMemory; i++ {
		h := tar.Header{Typeflag: tar.TypeReg, Name: "x", PAXRecords: map[string]string{"user.x": strings.Repeat("x", 1<<20)}}
		if err := tree.apply(i, &h); err != nil {
			return
		}
	}
	t.Error("attributes have no end")
}
