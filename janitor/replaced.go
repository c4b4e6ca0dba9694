package janitor

import (
	"strings"
	"time"
)

// replacedPrefix holds a note for each index blob that we replaced, named by
// its checksum: a reader may have fetched the manifest before and be about to
// fetch the blob, however old that is. The note's age is how long it has been
// an orphan.
const replacedPrefix = Prefix + "replaced/"

// A replacedBlob is an index blob that we replaced, and our note of it.
type replacedBlob struct {
	note objectID
	at   time.Time
}

// replaced returns the notes by the key of the blob.
func (s *Scan) replaced() map[string]replacedBlob {
	found := map[string]replacedBlob{}
	for i := range s.of(Own) {
		if sum, ok := strings.CutPrefix(s.objects.key(i), replacedPrefix); ok && len(sum) == 64 {
			found[blobsPrefix+sum[:2]+"/"+sum] = replacedBlob{i, s.objects.at(i).time()}
		}
	}
	return found
}
