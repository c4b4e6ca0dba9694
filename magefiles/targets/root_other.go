//go:build !unix

package targets

// sameOwner is true where files have no owners that could be compared.
func sameOwner(here, path string) bool { return true }
