//go:build !unix

package sifstore

import (
	"io/fs"
	"os"
)

const noWait = 0

func owner(fs.FileInfo) (uid int, names uint64) { return os.Getuid(), 1 }
