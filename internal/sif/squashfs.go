package sif

import (
	"archive/tar"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/command"
)

// A Compression is how the file system in a SIF is compressed.
type Compression string

// The compressions. Zstd is the fast one; kernels before 4.14 mount gzip only.
const (
	Zstd Compression = "zstd"
	Gzip Compression = "gzip"
)

// Compressions lists them, the default first.
var Compressions = []Compression{Zstd, Gzip}

// level is how hard each one tries. Zstd at 15 and gzip at 9, which the programs
// take without one, take several times as long for a few percent of the size.
func (c Compression) level() string {
	if c == Gzip {
		return "6"
	}
	return "3"
}

// A packer is a program that turns a tar stream into a squashfs.
type packer struct {
	program string
	root    bool // takes the root folder's owner and mode from the stream
	cmd     func(p packing) command.Cmd
}

// A packing is what a packer has to make.
type packing struct {
	compression Compression
	out         string
	root        *tar.Header // of the root folder
	newest      time.Time   // of all files
}

// packers are those that we know, the best one first: both are as fast, and
// tar2sqfs takes a quarter of the memory.
var packers = []packer{
	{program: "tar2sqfs", root: true, cmd: func(p packing) command.Cmd {
		args := []string{"tar2sqfs", "--quiet", "--force", "--no-skip", "--compressor", string(p.compression), "--comp-extra", "level=" + p.compression.level(), p.out}
		return command.Cmd{Args: args}
	}},
	{program: "mksquashfs", cmd: func(p packing) command.Cmd {
		args := []string{"mksquashfs", "-", p.out, "-tar", "-noappend", "-no-progress", "-quiet", "-mem", "32M", "-comp", string(p.compression), "-Xcompression-level", p.compression.level()}
		args = append(args, "-root-mode", strconv.FormatInt(p.root.Mode, 8), "-root-uid", strconv.Itoa(p.root.Uid), "-root-gid", strconv.Itoa(p.root.Gid))
		// It gives the root folder the time of now, unless that is later than this. No file is.
		return command.Cmd{Args: args, Env: []string{"SOURCE_DATE_EPOCH=" + strconv.FormatInt(p.newest.Unix(), 10)}}
	}},
}

// findPacker returns the first packer that is on PATH.
func findPacker() (packer, error) {
	var names []string
	for _, p := range packers {
		if _, err := command.LookPath(p.program); err == nil {
			return p, nil
		}
		names = append(names, p.program)
	}
	return packer{}, fmt.Errorf("neither %s is here: install squashfs-tools-ng or squashfs-tools, or use --engine=apptainer", strings.Join(names, " nor "))
}

// ParseCompression reads the name of a compression.
func ParseCompression(name string) (Compression, error) {
	for _, c := range Compressions {
		if string(c) == name {
			return c, nil
		}
	}
	return "", fmt.Errorf("unknown compression %q: zstd or gzip", name)
}
