// Package sites has the sites that batch scripts are written for, for repositories that have none of
// their own.
package sites

import "embed"

// Files has a file NAME.yaml for each site.
//
//go:embed *.yaml
var Files embed.FS
