package git

import (
	"strings"
	"testing"
)

func TestPublicURL(t *testing.T) {
	for give, want := range map[string]string{
		"https://git.example/org/x.git":                     "https://git.example/org/x.git",
		"https://me:canary@git.example/org/x.git":           "https://git.example/org/x.git",
		"https://canary@git.example:8443/org/x.git":         "https://git.example:8443/org/x.git",
		"ssh://git@git.example:22/org/x.git":                "ssh://git.example:22/org/x.git",
		"git@github.com:org/x.git":                          "ssh://github.com/org/x.git",
		"github.com:org/x.git":                              "ssh://github.com/org/x.git",
		"https://git.example/x?private_token=canary#canary": "https://git.example/x",
		"https://me:can%ary@git.example/x":                  "",
		"https://me:ca/nary@git.example/x":                  "",
		"https://me:canary @git.example/x":                  "",
		"me:canary@git.example:org/x":                       "",
		"/home/canary/x":                                    "",
		"../canary":                                         "",
		"file:///home/canary/x":                             "",
		"C:\\canary":                                        "",
		"ext::sh -c canary":                                 "",
		"":                                                  "",
	} {
		got := PublicURL(give)
		if got != want {
			t.Errorf("PublicURL(%q) = %q, want %q", give, got, want)
		}
		if strings.Contains(got, "canary") {
			t.Errorf("PublicURL(%q) tells the secret: %q", give, got)
		}
	}
}
