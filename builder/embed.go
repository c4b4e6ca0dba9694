// Package builder has the files of the base image builder, for repositories that have none of their own.
package builder

import "embed"

// Files are what the image is built from.
//
//go:embed Dockerfile spacktainers
var Files embed.FS
