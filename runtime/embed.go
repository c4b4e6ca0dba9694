// Package runtime has the files of the base image runtime, for repositories that have none of their own.
package runtime

import "embed"

// Files are what the image is built from.
//
//go:embed Dockerfile entrypoint.sh
var Files embed.FS
