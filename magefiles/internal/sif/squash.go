package sif

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/openbraininstitute/spacktainers/magefiles/internal/command"
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

// zstdLevel: level 15, which zstd means without one, takes seven times as long
// for three percent of the size.
const zstdLevel = "3"

// packers are the programs that turn a tar stream into a squashfs, the best
// one first: both are as fast, and tar2sqfs takes a quarter of the memory.
var packers = []packer{
	{program: "tar2sqfs", argv: func(c Compression, out string) []string {
		args := []string{"tar2sqfs", "--quiet", "--force", "--no-skip", "--compressor", string(c)}
		if c == Zstd {
			args = append(args, "--comp-extra", "level="+zstdLevel)
		}
		return append(args, out)
	}},
	{program: "mksquashfs", argv: func(c Compression, out string) []string {
		args := []string{"mksquashfs", "-", out, "-tar", "-noappend", "-no-progress", "-quiet", "-root-mode", "755", "-mkfs-time", "0", "-mem", "32M", "-comp", string(c)}
		if c == Zstd {
			args = append(args, "-Xcompression-level", zstdLevel)
		}
		return args
	}},
}

type packer struct {
	program string
	argv    func(c Compression, out string) []string
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

func (p packer) run(ctx context.Context, run command.Runner, c Compression, from io.Reader, out string) error {
	return run(ctx, command.Cmd{Args: p.argv(c, out), Stdin: from})
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
