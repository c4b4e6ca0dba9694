//go:build !linux

package parentdeath

// Hold does nothing where the kernel has no parent-death signal.
func Hold() {}
