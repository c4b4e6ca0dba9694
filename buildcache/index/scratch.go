package index

import "os"

// Scratch returns a file without a name, for what need not be in memory. It is
// gone when it is closed.
func Scratch() (*os.File, error) {
	file, err := os.CreateTemp("", "spacktainers-index-")
	if err == nil {
		_ = os.Remove(file.Name())
	}
	return file, err
}
