package sif

import (
	"archive/tar"
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strings"
	"time"
)

// What a layer may ask for. Layers come from registries, and a kilobyte of one can declare exabytes
// of a sparse file, or millions of folders.
const (
	maxContent = 1 << 40 // bytes of all files
	maxMemory  = 2 << 30 // bytes that the tree takes

	nodeMemory = 400 // bytes that a name takes besides its text
)

// What Linux and squashfs can hold.
const (
	maxComponent  = 255  // bytes of a name between slashes
	maxPath       = 4095 // bytes of a path, or of where a link leads
	maxAttribute  = 255  // bytes of an attribute's name
	maxAttributes = 60_000
	maxMajor      = 1<<12 - 1
	maxMinor      = 1<<20 - 1
)

// admit refuses what no container engine could unpack, and what is too much.
func (t *tree) admit(h *tar.Header) error {
	t.memory += nodeMemory + int64(len(h.Name)+len(h.Linkname))
	for key, value := range h.PAXRecords {
		t.memory += int64(len(key) + len(value))
	}
	if h.Typeflag == tar.TypeReg || h.Typeflag == tar.TypeGNUSparse || h.Typeflag == tar.TypeCont {
		t.content += min(h.Size, maxContent+1)
	}
	switch {
	case t.memory > maxMemory:
		return fmt.Errorf("the image has more names and attributes than %d MB of memory hold", maxMemory>>20)
	case t.content > maxContent:
		return fmt.Errorf("the files of the image have more than %d GB", maxContent>>30)
	case len(path.Clean("/"+h.Name)) > maxPath:
		return fmt.Errorf("a path of %d bytes: Linux takes %d", len(h.Name), maxPath)
	case h.Uid > math.MaxUint32 || h.Gid > math.MaxUint32 || h.Uid < math.MinInt32 || h.Gid < math.MinInt32:
		return fmt.Errorf("owner %d:%d: Linux has users of 32 bits, and would take it for another", h.Uid, h.Gid)
	}
	for component := range strings.SplitSeq(h.Name, "/") {
		if len(component) > maxComponent {
			return fmt.Errorf("a name of %d bytes: Linux takes %d", len(component), maxComponent)
		}
	}
	switch h.Typeflag {
	case tar.TypeSymlink:
		if h.Linkname == "" || len(h.Linkname) > maxPath {
			return fmt.Errorf("a link to a path of %d bytes: Linux takes 1 to %d", len(h.Linkname), maxPath)
		}
	case tar.TypeChar, tar.TypeBlock:
		if h.Devmajor < 0 || h.Devminor < 0 || h.Devmajor > maxMajor || h.Devminor > maxMinor {
			return fmt.Errorf("device %d:%d: there are no such numbers", h.Devmajor, h.Devminor)
		}
	}
	_, dropped := attributes(h)
	for _, name := range dropped {
		t.dropped[name]++
	}
	return nil
}

const xattrRecord = "SCHILY.xattr."

// attributes returns the extended attributes of an entry, by their keys in the
// archive, and the names of those that squashfs cannot hold. bsdtar writes each
// one a second time, LIBARCHIVE.xattr.NAME, which container engines do not
// read. What says something of the machine where the layer was made, not of the
// file, counts as neither.
func attributes(h *tar.Header) (kept map[string]string, dropped []string) {
	size := 0
	for _, key := range slices.Sorted(maps.Keys(h.PAXRecords)) {
		value := h.PAXRecords[key]
		name, ok := strings.CutPrefix(key, xattrRecord)
		switch {
		case !ok || ofMachine(name):
		case !storable(h, name) || size+len(key)+len(value) > maxAttributes:
			dropped = append(dropped, name)
		default:
			if kept == nil {
				kept = map[string]string{}
			}
			kept[key] = value
			size += len(key) + len(value)
		}
	}
	return kept, dropped
}

func ofMachine(attribute string) bool {
	return attribute == "security.selinux" || attribute == "system.nfs4_acl" || strings.HasPrefix(attribute, "trusted.overlay.")
}

// storable reports whether squashfs holds an attribute and Linux shows it:
// those of user only for files and folders.
func storable(h *tar.Header, attribute string) bool {
	class, name, _ := strings.Cut(attribute, ".")
	if name == "" || len(attribute) > maxAttribute {
		return false
	}
	switch class {
	case "security", "trusted":
		return true
	case "user":
		return h.Typeflag != tar.TypeSymlink && h.Typeflag != tar.TypeChar && h.Typeflag != tar.TypeBlock && h.Typeflag != tar.TypeFifo
	}
	return false
}

// tidy returns a header as every entry is written: numbers for owners, whole
// seconds, no times but that of the content.
func tidy(h *tar.Header) *tar.Header {
	out := &tar.Header{
		Typeflag: h.Typeflag, Linkname: h.Linkname, Mode: h.Mode & 0o7777, Uid: h.Uid, Gid: h.Gid, Size: h.Size,
		ModTime: whole(h.ModTime), Devmajor: h.Devmajor, Devminor: h.Devminor,
	}
	out.PAXRecords, _ = attributes(h)
	return out
}

// whole is a time in seconds as squashfs has them: from 1970 to 2106.
func whole(at time.Time) time.Time {
	return time.Unix(min(max(at.Unix(), 0), math.MaxUint32), 0)
}

// leftOut is a sentence on the attributes that squashfs cannot hold; empty
// where there are none.
func (t *tree) leftOut() string {
	const shown = 5
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(t.dropped)) {
		if len(parts) == shown {
			parts = append(parts, fmt.Sprintf("and %d more", len(t.dropped)-shown))
			break
		}
		parts = append(parts, fmt.Sprintf("%.100q of %d", name, t.dropped[name]))
	}
	if parts == nil {
		return ""
	}
	return "extended attributes that a SIF cannot hold are left out: " + strings.Join(parts, ", ")
}
