package file

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// Open returns the store that a file:///path URL or a bare path names. It is
// an error if that is no folder.
func Open(name string) (*Store, error) {
	dir, err := folder(name)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("build cache %q: %w", name, err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("build cache %q: not a folder", name)
	}
	return New(dir), nil
}

func folder(name string) (string, error) {
	if name == "" {
		return "", fmt.Errorf("build cache: no path given")
	}
	if !strings.Contains(name, "://") {
		return name, nil
	}
	u, err := url.Parse(name)
	if err != nil {
		return "", fmt.Errorf("build cache: %w", err)
	}
	if u.Scheme != "file" {
		return "", fmt.Errorf("build cache %q: not a path or file:// URL", name)
	}
	if u.Host != "" && u.Host != "localhost" || u.Path == "" || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("build cache %q: want file:///absolute/path", name)
	}
	return filepath.FromSlash(u.Path), nil
}
