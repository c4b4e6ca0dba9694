package release

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
)

// A file is one of a layer.
type file struct {
	content []byte
	mode    int64
}

// archive is a tarball of files, whose paths do not begin with a slash. All are root's, and of one time.
func archive(files map[string]file, at time.Time) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f := files[name]
		header := &tar.Header{Name: name, Mode: f.mode, Size: int64(len(f.content)), ModTime: at, Format: tar.FormatPAX}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), w.Close()
}

// dpkgStatus is where a Debian system keeps the list of its packages.
const dpkgStatus = "var/lib/dpkg/status"

// debianPackages lists the packages of the system whose root file system a tarball has.
func debianPackages(root string) ([]cyclonedx.Component, error) {
	f, err := os.Open(root)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("the root file system has no /%s", dpkgStatus)
		}
		if err != nil {
			return nil, err
		}
		if strings.TrimPrefix(path.Clean("/"+header.Name), "/") != dpkgStatus {
			continue
		}
		text, err := io.ReadAll(r)
		return parseStatus(string(text)), err
	}
}

// parseStatus reads dpkg's list: paragraphs of fields.
func parseStatus(text string) (packages []cyclonedx.Component) {
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		fields := map[string]string{}
		for line := range strings.Lines(paragraph) {
			if name, value, ok := strings.Cut(line, ": "); ok && !strings.HasPrefix(line, " ") {
				fields[name] = strings.TrimSpace(value)
			}
		}
		if !strings.HasSuffix(fields["Status"], " installed") {
			continue
		}
		c := library("pkg:deb/debian/"+fields["Package"], fields["Package"], fields["Version"])
		c.PackageURL += "?arch=" + fields["Architecture"]
		c.BOMRef = c.PackageURL
		packages = append(packages, c)
	}
	return packages
}
