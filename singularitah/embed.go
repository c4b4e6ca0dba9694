// Package singularitah has the files of the base image singularitah, for repositories that have none of their own.
package singularitah

import "embed"

// Files are what the image is built from.
//
//go:embed Dockerfile
var Files embed.FS
