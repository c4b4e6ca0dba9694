package assemble

import (
	"strings"
	"testing"
)

// What Spack's replacers make of these, but for the path of sbang, which no view has, and for binaries that are not ELF.
func TestPrefixesInCopiesBecomeThoseOfTheView(t *testing.T) {
	pairs := []replacement{{"/opt/software/x/perl-1", "/opt/view"}}
	r := viewReplacer{inBinaries: newReplacer(pairs), inText: newReplacer(append(pairs, replacement{"/opt/software", "/opt/view"})), sbang: "/opt/software/bin/sbang"}
	for data, want := range map[string]string{
		"#!/bin/sh /opt/software/bin/sbang\n#!/opt/software/x/perl-1/bin/perl -w\n": "#!/bin/sh /opt/software/bin/sbang\n#!/opt/view/bin/perl -w\n",
		"#!/opt/software/x/perl-1/bin/perl\n/opt/software/bin/sbang\n":              "#!/opt/view/bin/perl\n/opt/view/bin/sbang\n",
		"/opt/software/bin/sbang":                  "/opt/view/bin/sbang",
		"x=/opt/software/y":                        "x=/opt/view/y",
		"\x00/opt/software/x/perl-1/lib/perl5\x00": "\x00" + strings.Repeat("/", 13) + "/opt/view/lib/perl5\x00",
		"\x00/opt/software/y":                      "\x00/opt/software/y",
		"":                                         "",
	} {
		if got, err := r.change([]byte(data)); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v, want %q", data, got, err, want)
		}
	}
	r.inBinaries = newReplacer([]replacement{{"/opt/software/x/perl-1", "/opt/a/view/of/a/long/name"}})
	if _, err := r.change([]byte("\x00/opt/software/x/perl-1/lib")); err == nil || !strings.Contains(err.Error(), "which is longer") {
		t.Errorf("a longer prefix: %v", err)
	}
}
