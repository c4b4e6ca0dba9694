package sif

import (
	"archive/tar"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sylabs/sif/v2/pkg/sif"

	"github.com/openbraininstitute/spacktainers/internal/command"
)

var when = time.Date(2024, 5, 6, 7, 8, 9, 600_000_000, time.UTC)

func with(e entry, change func(*tar.Header)) entry {
	change(&e.Header)
	return e
}

func xattr(e entry, name, value string) entry {
	e.PAXRecords = map[string]string{xattrRecord + name: value}
	return e
}

// awkward are layers with everything that is easy to get wrong.
func awkward(t *testing.T) []v1.Layer {
	long := strings.Repeat("long-name-", 20)
	var deep []entry
	for i := range 60 {
		deep = append(deep, folder(strings.Repeat("d/", i)+"d"))
	}
	deep = append(deep, regular(strings.Repeat("d/", 60)+"file", "deep"))
	return []v1.Layer{
		layerOf(t, append(deep,
			folder("usr"), folder("usr/lib"), symlink("lib", "usr/lib"), folder("keep"), regular("keep/old", "old"), regular("gone", "x"),
			folder("opaque"), regular("opaque/below", "x"), folder("opaque/sub"), regular("opaque/sub/below", "x"), folder("opaque/gone"), regular("opaque/gone/below", "x"), folder("replaced"), regular("replaced/inside", "x"),
			regular("was-file", "x"), symlink("was-link", "nowhere"), regular("first", "content of first"), hardlink("second", "first"), hardlink("keep/third", "second"),
			with(program("setuid", "s"), func(h *tar.Header) { h.Mode = 0o4755 }), with(folder("sticky"), func(h *tar.Header) { h.Mode = 0o1777 }),
			with(program("setgid", "g"), func(h *tar.Header) { h.Mode = 0o2711; h.Gid = 1234 }), with(regular("owned", "o"), func(h *tar.Header) { h.Uid, h.Gid = 70000, 3_000_000_000 }),
			entry{Header: tar.Header{Typeflag: tar.TypeFifo, Name: "fifo", Mode: 0o640}},
			entry{Header: tar.Header{Typeflag: tar.TypeChar, Name: "null", Mode: 0o666, Devmajor: 1, Devminor: 3}},
			entry{Header: tar.Header{Typeflag: tar.TypeBlock, Name: "block", Mode: 0o660, Devmajor: 7, Devminor: 300}},
			symlink("loop-a", "loop-b"), symlink("loop-b", "loop-a"), symlink("self", "self"), symlink("out", "../../../etc/passwd"), symlink("long-link", strings.Repeat("x/", 300)),
			regular(long, "long"), hardlink("to-long", long), regular("grüße ☃", "unicode"), regular("with space\tand tab", "x"), regular(`back\slash`, "x"), regular("-dash", "x"), regular("new\nline", "x"),
			regular("empty", ""), with(regular("dated", "x"), func(h *tar.Header) { h.ModTime = when; h.Format = tar.FormatPAX }), with(regular("unreadable", "x"), func(h *tar.Header) { h.Mode = 0 }),
			xattr(regular("user-attribute", "x"), "user.comment", "hello\x00world"), xattr(program("ping", "x"), "security.capability", "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
			xattr(regular("acl", "x"), "system.posix_acl_access", "\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x04\x00\xe8\x03\x00\x00\x04\x00\x04\x00\xff\xff\xff\xff\x10\x00\x04\x00\xff\xff\xff\xff \x00\x04\x00\xff\xff\xff\xff"), xattr(regular("apple", "x"), "com.apple.provenance", "\x01\x02"),
			regular("twice", "first"), regular("twice", "second"), folder("etc"), regular("etc/hosts", "127.0.0.1 me"),
		)...),
		layerOf(t,
			regular(".wh.gone", ""), regular("keep/.wh.old", ""), regular("keep/new", "new"), regular("opaque/above", "y"), regular("opaque/.wh..wh..opq", ""), folder("opaque/sub"), regular("opaque/sub/above", "y"),
			regular("replaced", "now a file"), folder("was-file"), regular("was-file/inside", "z"), folder("was-link"), regular("was-link/inside", "z"),
			regular("lib/through-link", "lands in usr/lib"), regular("first", "a new first"), hardlink("from-below", "second"), hardlink("to-new", "first"),
			regular(".wh.never-there", ""), regular("etc/passwd", "root:x:0:0::/:/bin/sh"), folder("implied"), regular("implied/folder/file", "x"),
		),
		layerOf(t, regular(".wh.implied", ""), folder("implied"), regular("implied/again", "x"), hardlink("second-again", "keep/third"), with(regular("second", "replaced"), func(h *tar.Header) { h.Mode = 0o600 })),
	}
}

// What apptainer unpacks is what we write: names, kinds, modes, owners, sizes,
// times, links, devices, attributes and contents.
func TestFilesAreThoseOfApptainer(t *testing.T) {
	a := needApptainer(t)
	tree, record := put(t, "amd64", config, awkward(t)...)
	theirs := filepath.Join(t.TempDir(), "theirs.sif")
	a.run("build", theirs, "oci:"+tree.Dir("tool", "linux/amd64"))
	want := listing(t, a, theirs)
	for _, p := range packers {
		t.Run(p.program, func(t *testing.T) {
			needPacker(t, p)
			b := native(t)
			b.Engine = Native{p}
			ours, _, err := b.Build(t.Context(), tree, record, "")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, listing(t, a, b.Folder.Path(ours.File))); diff != "" {
				t.Errorf("apptainer's (-) and ours (+):\n%s", diff)
			}
		})
	}
}

// listing unpacks the file system of a SIF and describes each file in a line.
func listing(t *testing.T, a apptainer, path string) []string {
	t.Helper()
	image, err := sif.LoadContainerFromPath(path, sif.OptLoadWithFlag(os.O_RDONLY))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = image.UnloadContainer() }()
	system, err := image.GetDescriptor(sif.WithPartitionType(sif.PartPrimSys))
	if err != nil {
		t.Fatal(err)
	}
	squashfs := filepath.Join(t.TempDir(), "system.squashfs")
	out, err := os.Create(squashfs)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.ReadFrom(system.GetReader()); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "root")
	if err := command.Exec(testLog{t})(t.Context(), command.Cmd{Args: []string{filepath.Join(a.bin, "unsquashfs"), "-quiet", "-no-progress", "-dest", dir, squashfs}}); err != nil {
		t.Fatal(err)
	}
	return describe(t, dir)
}

// made are files that are made when a SIF is: their times are not the image's.
var made = regexp.MustCompile(`^/(\.singularity\.d|singularity|environment|\.run|\.exec|\.test|\.shell|etc|etc/hosts|etc/resolv\.conf|dev|proc|sys|root|home|tmp|var|var/tmp)?$`)

func describe(t *testing.T, dir string) (lines []string) {
	t.Helper()
	inodes := map[uint64]string{}
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, dir)
		if strings.HasPrefix(name, "/.singularity.d/") {
			return nil
		}
		if name == "" {
			name = "/"
		}
		line := fmt.Sprintf("%q %s", name, describeFile(t, path, info, inodes))
		if !made.MatchString(name) {
			line += " " + info.ModTime().UTC().Format(time.DateTime)
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}
