package buildcache

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
)

// A Location is where a mirror is, a bucket or a folder, and how to get there. Two spellings of one
// mirror have the same Location: s3://b and s3://b/, ../c and file:///home/c/.
type Location struct {
	Bucket string // of s3://BUCKET/PREFIX; "" for a folder
	Prefix string // without slashes at its ends; may be ""
	Folder string // absolute

	Endpoint    string // of an S3 that is not Amazon's; "" is Amazon
	Credentials string // NAME of NAME_ACCESS_KEY_ID and the like; "" is the default
	Anonymous   bool   // a bucket that everybody may read: nothing is signed
}

// ParseLocation reads s3://BUCKET/PREFIX, file:///FOLDER or a path. A relative path begins at dir,
// or with dir "" at the current folder.
func ParseLocation(text, dir string) (Location, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	switch {
	case text == "":
		return Location{}, fmt.Errorf("build cache: no address is given: want s3://BUCKET/PREFIX or a folder")
	case !ok:
		return parseFolder(text, dir)
	case scheme == "s3":
		return parseBucket(rest)
	case scheme == "file":
		return parseFileURL(text)
	}
	if host, _, _ := strings.Cut(rest, "/"); strings.Contains(host, "@") {
		return Location{}, errCredentialsInURL
	}
	return Location{}, fmt.Errorf("build cache %q: %s", text, otherScheme(strings.ToLower(scheme)))
}

var errCredentialsInURL = fmt.Errorf("build cache: its address holds credentials: take them out, and give them in the environment")

// otherScheme says of an address that Spack may know why it is none for us.
func otherScheme(scheme string) string {
	switch scheme {
	case "oci":
		return "a build cache in a registry has no index that could be pruned, and is not supported: keep packages in a bucket or a folder"
	case "http", "https":
		return "a web server cannot be listed or written to: name the bucket (s3://) or folder that it shows, with endpoint: for a server of your own"
	case "gs":
		return "write s3:// and set endpoint: https://storage.googleapis.com, with an HMAC key of the bucket"
	case "s3", "file":
		return "write the scheme in small letters"
	}
	return fmt.Sprintf("%s:// is not supported: want s3://BUCKET/PREFIX or a folder", scheme)
}

func parseBucket(rest string) (Location, error) {
	bucket, prefix, _ := strings.Cut(rest, "/")
	if strings.Contains(bucket, "@") {
		return Location{}, errCredentialsInURL
	}
	prefix = strings.Trim(prefix, "/")
	odd := bucket == "" || strings.ContainsAny(bucket, "?#: %") || hasControls(rest)
	for part := range strings.SplitSeq(prefix, "/") {
		odd = odd || part == "." || part == ".." || part == "" && prefix != ""
	}
	if odd {
		return Location{}, fmt.Errorf("build cache %q: want s3://bucket or s3://bucket/prefix", "s3://"+rest)
	}
	return Location{Bucket: bucket, Prefix: prefix}, nil
}

func parseFileURL(text string) (Location, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host != "" && u.Host != "localhost" || u.Path == "" || u.RawQuery != "" || u.Fragment != "" {
		return Location{}, fmt.Errorf("build cache %q: want file:///absolute/path", text)
	}
	return parseFolder(filepath.FromSlash(u.Path), "")
}

func parseFolder(path, dir string) (Location, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return Location{}, fmt.Errorf("build cache %q: %w", path, err)
	}
	return Location{Folder: path}, nil
}

// IsBucket reports whether the mirror is in a bucket, else it is a folder.
func (l Location) IsBucket() bool { return l.Bucket != "" }

// IsZero reports whether it is nowhere.
func (l Location) IsZero() bool { return l == Location{} }

// String returns s3://BUCKET/PREFIX or the absolute path of the folder.
func (l Location) String() string {
	if !l.IsBucket() {
		return l.Folder
	}
	return strings.TrimSuffix("s3://"+l.Bucket+"/"+l.Prefix, "/")
}

// Same reports whether two addresses lead to one mirror. One that does not say its endpoint is
// taken to mean that of the other.
func (l Location) Same(other Location) bool {
	return l.Bucket == other.Bucket && l.Prefix == other.Prefix && l.Folder == other.Folder &&
		(l.Endpoint == "" || other.Endpoint == "" || trimmed(l.Endpoint) == trimmed(other.Endpoint))
}

func trimmed(endpoint string) string { return strings.TrimRight(endpoint, "/") }

// Contains reports whether the other mirror is this one or is in it.
func (l Location) Contains(other Location) bool {
	if l.IsBucket() != other.IsBucket() || l.Bucket != other.Bucket {
		return false
	}
	outer, inner := l.Folder, other.Folder
	if l.IsBucket() {
		outer, inner = "/"+l.Prefix, "/"+other.Prefix
	}
	return inner == outer || strings.HasPrefix(inner, strings.TrimSuffix(outer, "/")+"/")
}
