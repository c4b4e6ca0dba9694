package janitor_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

func TestReadUses(t *testing.T) {
	hash, blob := strings.Repeat("a", 32), "blobs/sha256/ab/ab"+strings.Repeat("0", 62)
	uses, err := janitor.ReadUses(strings.NewReader(`# a comment

` + hash + "\t2026-01-02T00:00:00Z\n" + `
prefix/build_cache/linux/gcc-12/x-1.0/linux-gcc-12-x-1.0-` + hash + `.spack 2026-01-03T01:00:00+01:00
build_cache/linux-gcc-12-x-1.0-` + hash + `.spec.json.sig 2025-01-01T00:00:00Z
prefix/` + blob + ` 2026-01-04T00:00:00Z
prefix/build_cache/index.json 2026-02-01T00:00:00Z
`))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]time.Time{hash: time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC), blob: time.Date(2026, 1, 4, 0, 0, 0, 0, time.UTC)}
	for what, at := range want {
		if !uses[what].Equal(at) {
			t.Errorf("%s: got %s, want %s", what, uses[what], at)
		}
	}
	if len(uses) != len(want) {
		t.Errorf("got %v", uses)
	}
	for text, want := range map[string]error{
		"":                                    janitor.ErrRefused,
		"v3/layout.json 2026-01-02T00:00:00Z": janitor.ErrRefused,
		hash:                                  buildcache.ErrFormat,
		hash + " 2026-01-02":                  buildcache.ErrFormat,
		hash + " 2026-01-02T00:00:00Z 1":      buildcache.ErrFormat,
		"qs-net 2026-01-02T00:00:00Z":         buildcache.ErrFormat,
	} {
		if _, err := janitor.ReadUses(strings.NewReader(text)); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", text, err, want)
		}
	}
	_, err = janitor.ReadUses(strings.NewReader(hash + " 2026-01-02T00:00:00Z\n\n" + hash + " yesterday\n"))
	if err == nil || !strings.HasPrefix(err.Error(), "line 3: ") {
		t.Errorf("got %v, want the line's number", err)
	}
}

func TestWhatIsUsedStays(t *testing.T) {
	m := loaded(t, "v3-signed")
	roots := locks(t, "v3-signed", "env-b")
	s := scanned(t, m)
	var tool scan.Spec // that env-b does not need
	for spec := range s.Specs() {
		if spec.Name == "qs-server" && spec.Version == "2.0" {
			tool = spec
		}
	}
	for name, tt := range map[string]struct {
		uses  janitor.Uses
		stays bool
	}{
		"by hash":          {janitor.Uses{string(tool.Hash): now.Add(-80 * day)}, true},
		"by its tarball":   {janitor.Uses{tool.Objects[1].Key: now.Add(-80 * day)}, true},
		"long ago":         {janitor.Uses{string(tool.Hash): now.Add(-91 * day)}, false},
		"something else":   {janitor.Uses{string(tool.Hash[:31]) + "x": now}, false},
		"the later counts": {janitor.Uses{string(tool.Hash): now.Add(-91 * day), tool.Objects[2].Key: now}, true},
	} {
		policy := bold
		policy.UsedSince, policy.Uses = 90*day, tt.uses
		p := plan(t, m, roots, policy)
		text := going(p)
		if got := !strings.Contains(text, "qs-server@2.0"); got != tt.stays {
			t.Errorf("%s: stays: %v, want %v", name, got, tt.stays)
		}
		if said := strings.Contains(strings.Join(p.Notes, "\n"), "names no spec of this build cache"); said != (name == "something else") {
			t.Errorf("%s: it says %q", name, p.Notes)
		}
		if tt.stays && strings.Count(text, "qs-net@1.3") != 1 { // the one that qs-server@2.0 needs stays
			t.Errorf("%s: what it needs goes: %s", name, text)
		}
	}
	policy := bold
	policy.UsedSince = 90 * day
	if _, err := planned(t, m, roots, policy); !errors.Is(err, janitor.ErrRefused) {
		t.Errorf("without a log: %v", err)
	}
}
