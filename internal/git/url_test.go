package git

import (
	"strings"
	"testing"
)

func TestAddressesThatRunCommandsAreRefused(t *testing.T) {
	for _, address := range []string{
		"", "--upload-pack=touch x", "-oProxyCommand=x", "ext::sh -c touch% x", "ext::sh -c x://y", "fd::3", "foo::bar",
		"ext://x", "ftp://host/x", "http+ext://x", "HTTPS://host/x", "ssh://-oProxyCommand=x/y", "ssh://-x@host/y",
		"git@-oProxyCommand=x:y", "https:///x", "https://host/x\nexec", "ssh://user@-host/y", "https://[::1/x",
	} {
		if CheckURL(address) == nil {
			t.Errorf("%q is taken for a repository", address)
		}
	}
	for _, address := range []string{
		"https://github.com/spack/spack.git", "http://localhost:3000/x", "ssh://git@host:22/x.git", "git://host/x", "file:///srv/x.git",
		"git@github.com:spack/spack.git", "host:x", "../spack", "/srv/a::b", "./ext::x", "spack", "https://[::1]:8080/x", "[::1]:x",
		"https://host/x@y", "https://host/a:b@c",
	} {
		if err := CheckURL(address); err != nil {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestAnAddressWithCredentialsIsRefusedWithoutRepeatingThem(t *testing.T) {
	for _, address := range []string{
		"https://canary@host/x", "https://user:canary@host/x", "ssh://user:canary@host/x", "http://canary:@host", "https://u:can%ary@host/x",
		"git://canary@host/x", "https://user:ca/nary@host/x",
	} {
		err := CheckURL(address)
		if strings.Contains(address, "ca/nary") { // the slash ends the authority: the port is then no number
			if err == nil || strings.Contains(err.Error(), "nary") {
				t.Errorf("got %v", err)
			}
			continue
		}
		if err == nil || strings.Contains(err.Error(), "can") || !strings.Contains(err.Error(), "credential") {
			t.Errorf("%s: got %v", address, err)
		}
	}
}

func TestRefsThatAreNoneAreRefused(t *testing.T) {
	for _, ref := range []string{"", "--upload-pack=x", "-q", "a b", "a..b", "HEAD^", "x:y", "a\nb", "refs/*"} {
		if CheckRef(ref) == nil {
			t.Errorf("%q is taken for a ref", ref)
		}
	}
	for _, ref := range []string{"main", "v0.23.1", "feature/a-b", "5817ab9613"} {
		if err := CheckRef(ref); err != nil {
			t.Error(err)
		}
	}
}
