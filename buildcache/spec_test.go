package buildcache

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

const (
	hashA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	hashB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	hashC = "cccccccccccccccccccccccccccccccc"
)

func TestParseHash(t *testing.T) {
	if got, err := ParseHash("cqi5yly72uvboajbg5ihwbgyuie73hrq"); err != nil || got != "cqi5yly72uvboajbg5ihwbgyuie73hrq" {
		t.Errorf("got %q, %v", got, err)
	}
	for _, s := range []string{"", "cqi5yly", hashA + "a", strings.ToUpper(hashA), hashA[:31] + "1", hashA[:15] + "../" + hashA[:14]} {
		if got, err := ParseHash(s); !errors.Is(err, ErrFormat) {
			t.Errorf("ParseHash(%q) = %q, %v; want ErrFormat", s, got, err)
		}
	}
}

func TestParseSpecReadsEveryForm(t *testing.T) {
	tests := []struct {
		name, json string
		want       Spec
	}{{
		name: "specfile 4",
		json: `{"name":"x","version":"1","hash":"` + hashA + `","arch":{"platform":"linux","platform_os":"debian12","target":"x86_64_v3"},
			"compiler":{"name":"gcc","version":"12.2.0"},"namespace":"n","parameters":{"tls":true},"package_hash":"p====","unknown":[1],
			"dependencies":[{"name":"y","hash":"` + hashB + `","parameters":{"deptypes":["build","run"],"virtuals":["mpi"]}}]}`,
		want: Spec{Hash: hashA, Name: "x", Version: "1", Platform: "linux", OS: "debian12", Target: "x86_64_v3",
			Compiler: "gcc@12.2.0", Namespace: "n", Parameters: map[string]any{"tls": true}, PackageHash: "p====",
			Dependencies: []Dependency{{Name: "y", Hash: hashB, Types: Build | Run, Virtuals: []string{"mpi"}}}},
	}, {
		name: "specfile 5 migrated from 4",
		json: `{"name":"x","version":"1","hash":"` + hashA + `","annotations":{"original_specfile_version":4,"compiler":"gcc@=12.2.0"}}`,
		want: Spec{Hash: hashA, Name: "x", Version: "1", Compiler: "gcc@12.2.0"},
	}, {
		name: "old dependency types",
		json: `{"name":"x","version":"1","hash":"` + hashA + `","dependencies":[{"name":"y","hash":"` + hashB + `","type":["link","test"]}]}`,
		want: Spec{Hash: hashA, Name: "x", Version: "1", Dependencies: []Dependency{{Name: "y", Hash: hashB, Types: Link | Test}}},
	}, {
		name: "target that archspec describes in full",
		json: `{"name":"x","version":"1","hash":"` + hashA + `","arch":{"platform":"linux","platform_os":"u","target":{"name":"skylake","vendor":"GenuineIntel","features":[]}}}`,
		want: Spec{Hash: hashA, Name: "x", Version: "1", Platform: "linux", OS: "u", Target: "skylake"},
	}, {
		name: "external",
		json: `{"name":"x","version":"1","hash":"` + hashA + `","external":{"path":"/usr","module":null,"extra_attributes":{}}}`,
		want: Spec{Hash: hashA, Name: "x", Version: "1", External: true, ExternalPath: "/usr"},
	}, {
		name: "external by module",
		json: `{"name":"x","version":"1","hash":"` + hashA + `","external":{"path":null,"module":["m"]}}`,
		want: Spec{Hash: hashA, Name: "x", Version: "1", External: true},
	}, {
		name: "nulls",
		json: `{"name":"x","version":"1","hash":"` + hashA + `","external":null,"arch":null,"parameters":null,"dependencies":null,"compiler":null,"build_spec":null}`,
		want: Spec{Hash: hashA, Name: "x", Version: "1"},
	}, {
		name: "spliced",
		json: `{"name":"x","version":"1","hash":"` + hashA + `","build_spec":{"name":"x","hash":"` + hashB + `"}}`,
		want: Spec{Hash: hashA, Name: "x", Version: "1", BuildSpec: hashB},
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseSpec([]byte(tt.json))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(*got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", *got, tt.want)
			}
		})
	}
}

func TestParseSpecRefuses(t *testing.T) {
	const head = `{"name":"x","version":"1","hash":"` + hashA + `"`
	tests := map[string]string{
		"nothing":                    ``,
		"null":                       `null`,
		"no object":                  `[]`,
		"truncated":                  head,
		"no name":                    `{"version":"1","hash":"` + hashA + `"}`,
		"no version":                 `{"name":"x","hash":"` + hashA + `"}`,
		"no hash":                    `{"name":"x","version":"1"}`,
		"short hash":                 `{"name":"x","version":"1","hash":"aaaaaaa"}`,
		"text after it":              head + `} {}`,
		"a key twice":                head + `,"hash":"` + hashB + `"}`,
		"a key twice, once escaped":  head + `,"h\u0061sh":"` + hashB + `"}`,
		"a key twice below":          head + `,"parameters":{"a":[{"b":1,"b":2}]}}`,
		"unknown dependency type":    head + `,"dependencies":[{"name":"y","hash":"` + hashB + `","type":["include"]}]}`,
		"dependency without types":   head + `,"dependencies":[{"name":"y","hash":"` + hashB + `"}]}`,
		"dependency without hash":    head + `,"dependencies":[{"name":"y","type":["link"]}]}`,
		"dependency null":            head + `,"dependencies":[null]}`,
		"dependencies of specfile 1": head + `,"dependencies":{"y":{"hash":"` + hashB + `"}}}`,
		"odd external":               head + `,"external":"/usr"}`,
		"build spec without hash":    head + `,"build_spec":{}}`,
	}
	for name, data := range tests {
		if got, err := ParseSpec([]byte(data)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: got %v, %v; want ErrFormat", name, got, err)
		}
	}
}

func TestParseSpecTakesEqualKeysInDifferentObjects(t *testing.T) {
	data := `{"name":"x","version":"1","x":"a\"name\"","hash":"` + hashA + `","parameters":{"name":"name","hash":["name","name"],"o":{"name":1}}}`
	if _, err := ParseSpec([]byte(data)); err != nil {
		t.Error(err)
	}
}

func TestBinaryHashIsThatOfTheBuildSpec(t *testing.T) {
	plain, spliced := Spec{Hash: hashA}, Spec{Hash: hashA, BuildSpec: hashB}
	if got := plain.BinaryHash(); got != hashA {
		t.Errorf("plain: got %s", got)
	}
	if got := spliced.BinaryHash(); got != hashB {
		t.Errorf("spliced: got %s", got)
	}
}

func TestSpecString(t *testing.T) {
	s := Spec{Name: "qs-net", Version: "1.3", Hash: "2dhxxs3cnmilqv54hxgel7uryftdnfzy"}
	if got, want := s.String(), "qs-net@1.3/2dhxxs3"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
