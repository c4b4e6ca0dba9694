package torture

import (
	"slices"
	"strings"
	"testing"
)

// judge compares what is there with what was there before.
func judge(t *testing.T, start, now *World, roots []*Spec, when string) {
	t.Helper()
	for hash := range hashes(closure(roots, false)) {
		for key, o := range start.oracle.objects(hash, true) {
			if n := now.bucket.objects[key]; n == nil || n.etag != o.etag {
				t.Errorf("%s: %s is gone, which a lockfile needs", when, key)
			}
		}
	}
	for key, o := range start.bucket.objects {
		if k, _ := sortKey(key); (k == foreign || k == otherManifest && !strings.Contains(key, "/index/")) && (now.bucket.objects[key] == nil || now.bucket.objects[key].etag != o.etag) {
			t.Errorf("%s: %s was changed, and is none of its business", when, key)
		}
	}
	for hash := range now.oracle.byHash {
		if s, _ := now.oracle.spec(hash); s != nil {
			for need := range s.needs {
				if start.oracle.present(need) && !now.oracle.present(need) {
					t.Errorf("%s: %s lacks %s", when, hash, need)
				}
			}
		}
		for key, o := range now.oracle.byHash[hash] {
			for _, b := range read(o, "manifest").manifest.named() {
				if now.bucket.objects[b] == nil {
					t.Errorf("%s: %s lacks %s", when, key, b)
				}
			}
		}
	}
	for key, named := range now.oracle.indexes {
		for hash := range named {
			before := start.oracle.indexes[key][hash] && !start.oracle.inLayout(hash, key) // a forced push has died, and the run was killed before it mended that
			if !now.oracle.inLayout(hash, key) && !now.unknown[hash] && !before {
				t.Errorf("%s: %s names %s, which is not there", when, key, hash)
			}
		}
		if named == nil {
			t.Errorf("%s: %s cannot be read", when, key)
		}
	}
}

// judgeEnd compares what is there when all is quiet with what was there at the start. What has been
// gone in between may be in no index.
func judgeEnd(t *testing.T, start, now *World, roots []*Spec, gone map[string]bool, when string) {
	t.Helper()
	now.oracle.final(roots)
	for _, b := range now.oracle.broken {
		t.Errorf("%s: %s: %s", when, b.Promise, b.What)
	}
	for key, before := range start.oracle.indexes {
		for hash := range before {
			if !gone[hash] && now.oracle.inLayout(hash, key) && !now.oracle.indexes[key][hash] {
				t.Errorf("%s: %s has lost %s, which is there", when, key, hash)
			}
		}
	}
	if slices.Equal(start.bucket.keys, now.bucket.keys) {
		t.Errorf("%s: nothing has happened at all", when)
	}
}
