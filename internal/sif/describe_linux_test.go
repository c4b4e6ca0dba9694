package sif

import (
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func describeFile(t *testing.T, path string, info os.FileInfo, inodes map[uint64]string) string {
	t.Helper()
	stat := info.Sys().(*syscall.Stat_t)
	line := fmt.Sprintf("%s %d:%d", info.Mode(), stat.Uid, stat.Gid)
	switch mode := info.Mode(); {
	case mode&os.ModeSymlink != 0:
		target, err := os.Readlink(path)
		if err != nil {
			t.Fatal(err)
		}
		return line + " -> " + target
	case mode&os.ModeDevice != 0:
		line += fmt.Sprintf(" device %d:%d", unix.Major(stat.Rdev), unix.Minor(stat.Rdev))
	case mode.IsRegular():
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		line += fmt.Sprintf(" %d bytes %x, %d links", len(text), sha256.Sum256(text), stat.Nlink)
		if first := inodes[stat.Ino]; first != "" {
			line += " same as " + first
		} else if stat.Nlink > 1 {
			inodes[stat.Ino] = info.Name()
		}
	}
	names := make([]byte, 1<<12)
	n, err := unix.Llistxattr(path, names)
	if err != nil {
		t.Fatal(err)
	}
	attributes := strings.Split(strings.Trim(string(names[:n]), "\x00"), "\x00")
	slices.Sort(attributes)
	for _, name := range attributes {
		if name == "" {
			continue
		}
		value := make([]byte, 1<<12)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			t.Fatal(err)
		}
		line += fmt.Sprintf(" %s=%q", name, value[:n])
	}
	return line
}
