package janitor

import (
	"path"
	"strings"
	"time"
)

// replacedPrefix holds a note for each index blob that we replaced, named by
// its checksum: a reader may have fetched the manifest before and be about to
// fetch the blob, however old that is. The note's age is how long it has been
// an orphan.
const replacedPrefix = Prefix + "replaced/"

// replaced returns when index blobs were replaced, by their keys.
func (s *Scan) replaced() map[string]time.Time {
	found := map[string]time.Time{}
	for key, o := range s.Objects {
		if sum, ok := strings.CutPrefix(key, replacedPrefix); ok && len(sum) == 64 {
			found["blobs/sha256/"+sum[:2]+"/"+sum] = o.ModTime
		}
	}
	return found
}

func checksumOf(blobKey string) string { return path.Base(blobKey) }
