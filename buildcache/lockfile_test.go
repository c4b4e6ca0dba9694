package buildcache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Counts and hashes as measured with Spack itself.
func TestReadLockfile(t *testing.T) {
	tests := []struct {
		cache                                              string
		version, specfile, nodes, external, runtime, total int
		spack                                              string
		roots                                              []Root
	}{
		{"v2-signed", 5, 4, 16, 3, 11, 13, "0.23.0", []Root{{"qs-report", "cqi5yly72uvboajbg5ihwbgyuie73hrq"}, {"qs-server@2.0+tls", "rnvrdetgqanwi2vzhwkyrfdzmc75ebyb"}}},
		{"v3-signed", 6, 5, 18, 4, 11, 14, "1.2.0.dev0", []Root{{"qs-report", "foypbbidvwgc4qkwbqr2efeycg5xu3et"}, {"qs-server@2.0+tls", "tuys3pvreozvzlquuoy5h5xgivvlusun"}}},
	}
	for _, tt := range tests {
		t.Run(tt.cache, func(t *testing.T) {
			l, err := ReadLockfile("../testdata/spack/" + tt.cache + "/locks/env-a.spack.lock")
			if err != nil {
				t.Fatal(err)
			}
			if l.Version != tt.version || l.SpecfileVersion != tt.specfile || l.Spack.Version != tt.spack {
				t.Errorf("got versions %d, %d, %q", l.Version, l.SpecfileVersion, l.Spack.Version)
			}
			if !slices.Equal(l.Roots, tt.roots) {
				t.Errorf("got roots %v, want %v", l.Roots, tt.roots)
			}
			if got := len(l.Specs); got != tt.nodes {
				t.Errorf("got %d nodes, want %d", got, tt.nodes)
			}
			if got := inCache(l.Closure(hashes(l.Roots), Runtime)); len(got) != tt.runtime {
				t.Errorf("got a runtime closure of %v, want %d", got, tt.runtime)
			}
			all := l.Closure(hashes(l.Roots), Build|Link|Run|Test)
			if got := len(all) - len(inCache(all)); got != tt.external {
				t.Errorf("got %d externals, want %d", got, tt.external)
			}
			if got := len(inCache(all)); got != tt.total {
				t.Errorf("got a whole closure of %d, want %d", got, tt.total)
			}
		})
	}
}

func TestReadLockfileNamesThePath(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.lock")
	if err := os.WriteFile(bad, []byte(`{"_meta":`), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{bad, filepath.Join(t.TempDir(), "missing.lock")} {
		if _, err := ReadLockfile(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("got %v, want the path %s in it", err, path)
		}
	}
}

func TestClosurePutsDependenciesFirst(t *testing.T) {
	l, err := ReadLockfile("../testdata/spack/v2-signed/locks/env-a.spack.lock")
	if err != nil {
		t.Fatal(err)
	}
	closure := l.Closure(hashes(l.Roots), Runtime)
	at := map[Hash]int{}
	for i, s := range closure {
		if j, ok := at[s.Hash]; ok {
			t.Errorf("%s stands at %d and %d", s, j, i)
		}
		at[s.Hash] = i
	}
	for _, s := range closure {
		for _, d := range s.Dependencies {
			if i, ok := at[d.Hash]; d.Types&Runtime != 0 && (!ok || i >= at[s.Hash]) {
				t.Errorf("%s does not follow its dependency %s", s, d.Name)
			}
		}
	}
	for range 3 {
		if again := l.Closure(hashes(l.Roots), Runtime); !slices.Equal(closure, again) {
			t.Fatal("another call gives another order")
		}
	}
}

func TestClosureFollowsTheGivenTypesOnly(t *testing.T) {
	l := mustParse(t, lock(5, []string{hashA}, map[string]string{
		hashA: leaf("a", hashA, dep("b", hashB, "build"), dep("c", hashC, "run")),
		hashB: leaf("b", hashB),
		hashC: leaf("c", hashC),
	}))
	for types, want := range map[DepTypes]string{0: "a", Build: "b a", Runtime: "c a", Build | Run: "b c a", Test: "a"} {
		var names []string
		for _, s := range l.Closure([]Hash{hashA}, types) {
			names = append(names, s.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("types %b: got %q, want %q", types, got, want)
		}
	}
}

func TestParseLockfileTakesInIncludedEnvironments(t *testing.T) {
	inner := environmentOf([]string{hashC}, map[string]string{hashC: leaf("c", hashC)}, "")
	middle := environmentOf([]string{hashB, hashA}, map[string]string{hashB: leaf("b", hashB, dep("c", hashC, "link"))}, `{"/envs/inner":`+inner+`}`)
	data := `{"_meta":{"file-type":"spack-lockfile","lockfile-version":6,"specfile-version":5},` +
		environmentOf([]string{hashA}, map[string]string{hashA: leaf("a", hashA)}, `{"/envs/middle":`+middle+`,"/envs/zinner":`+inner+`}`)[1:]
	l := mustParse(t, data)
	if len(l.Specs) != 3 {
		t.Errorf("got %d nodes, want those of all three environments", len(l.Specs))
	}
	if got, want := hashes(l.Roots), []Hash{hashA, hashB, hashC}; !slices.Equal(got, want) {
		t.Errorf("got roots %v, want %v", got, want)
	}
	if got := l.Closure([]Hash{hashB}, Link); len(got) != 2 {
		t.Errorf("got closure %v, want the node of the nested environment in it", got)
	}
}

func TestParseLockfileReadsVersion4AndNewer(t *testing.T) {
	for _, v := range []int{-1, 0, 3, 4, 5, 6, 7, 8, 9, 100} {
		_, err := ParseLockfile([]byte(lock(v, []string{hashA}, map[string]string{hashA: leaf("a", hashA)})))
		if v >= 4 && err != nil || v < 4 && !errors.Is(err, ErrFormat) {
			t.Errorf("version %d: got %v", v, err)
		}
		if note := LockfileFormat.Note(v); (note != "") != (v > 8) {
			t.Errorf("version %d: got the note %q", v, note)
		}
	}
}

func TestParseLockfileRefuses(t *testing.T) {
	whole, err := os.ReadFile("../testdata/spack/v2-signed/locks/env-a.spack.lock")
	if err != nil {
		t.Fatal(err)
	}
	one := map[string]string{hashA: leaf("a", hashA)}
	meta := `{"_meta":{"file-type":"spack-lockfile","lockfile-version":5},`
	tests := map[string]struct{ data, say string }{
		"nothing":                 {``, ""},
		"null":                    {`null`, "file type"},
		"an index":                {`{"database":{"version":"7","installs":{}}}`, "file type"},
		"half a file":             {string(whole[:len(whole)/2]), "unexpected end"},
		"two files":               {string(whole) + string(whole), "after top-level"},
		"no version":              {`{"_meta":{"file-type":"spack-lockfile"},"roots":[],"concrete_specs":{}}`, "does not say"},
		"version 3":               {lock(3, nil, one), "concretize again"},
		"a newer shape":           {strings.Replace(lock(9, nil, one), `"concrete_specs"`, `"specs"`, 1), "missing"},
		"no roots":                {meta + `"concrete_specs":{}}`, "missing"},
		"no nodes":                {meta + `"roots":[]}`, "missing"},
		"nodes null":              {meta + `"roots":[],"concrete_specs":null}`, "missing"},
		"a node null":             {meta + `"roots":[],"concrete_specs":{"` + hashA + `":null}}`, hashA},
		"an environment null":     {meta + `"roots":[],"concrete_specs":{},"include_concrete":{"/e":null}}`, "/e"},
		"key is not the hash":     {lock(5, nil, map[string]string{hashB: leaf("a", hashA)}), hashB},
		"root without node":       {lock(5, []string{hashB}, one), hashB},
		"root without hash":       {meta + `"roots":[{"spec":"zlib"}],"concrete_specs":{}}`, "zlib"},
		"dependency without node": {lock(5, nil, map[string]string{hashA: leaf("a", hashA, dep("zlib", hashB, "build"))}), "zlib"},
		"build spec without node": {lock(5, nil, map[string]string{hashA: strings.TrimSuffix(leaf("a", hashA), "}") + `,"build_spec":{"name":"a","hash":"` + hashB + `"}}`}), hashB},
		"needs itself":            {lock(5, nil, map[string]string{hashA: leaf("a", hashA, dep("a", hashA, "run"))}), "itself"},
		"a cycle": {lock(5, nil, map[string]string{
			hashA: leaf("a", hashA, dep("b", hashB, "run")),
			hashB: leaf("b", hashB, dep("c", hashC, "build")),
			hashC: leaf("c", hashC, dep("a", hashA, "link"))}), "itself"},
	}
	for name, tt := range tests {
		_, err := ParseLockfile([]byte(tt.data))
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), tt.say) {
			t.Errorf("%s: got %v; want ErrFormat with %q", name, err, tt.say)
		}
	}
}

func FuzzParseLockfile(f *testing.F) {
	for _, path := range []string{"v2-signed", "v3-signed"} {
		data, err := os.ReadFile("../testdata/spack/" + path + "/locks/env-a.spack.lock")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(lock(5, []string{hashA}, map[string]string{hashA: leaf("a", hashA, dep("b", hashB, "run")), hashB: leaf("b", hashB)})))
	f.Add([]byte(`{"_meta":{"file-type":"spack-lockfile","lockfile-version":5},"roots":[],"concrete_specs":{},"include_concrete":{"/e":null}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := ParseLockfile(data)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("got %v, want ErrFormat", err)
			}
			return
		}
		for h, s := range l.Specs {
			if s.Hash != h {
				t.Errorf("%s is keyed by %s", s, h)
			}
		}
		for _, s := range l.Closure(hashes(l.Roots), Build|Link|Run|Test) {
			for _, d := range s.Dependencies {
				if l.Specs[d.Hash] == nil {
					t.Errorf("%s: no dependency %s", s, d.Hash)
				}
			}
		}
	})
}

func FuzzParseSpec(f *testing.F) {
	f.Add([]byte(leaf("a", hashA, dep("b", hashB, "run"))))
	f.Add([]byte(`{"name":"x","version":"1","hash":"` + hashA + `","arch":{"target":{"name":"skylake"}},"external":{"path":"/usr"},"build_spec":{"hash":"` + hashB + `"}}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseSpec(data)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("got %v, want ErrFormat", err)
			}
			return
		}
		all := []Hash{s.Hash, s.BinaryHash()}
		for _, d := range s.Dependencies {
			all = append(all, d.Hash)
		}
		for _, h := range all {
			if _, err := ParseHash(string(h)); err != nil {
				t.Error(err)
			}
		}
		if s.Name == "" || s.Version == "" {
			t.Errorf("got %+v", s)
		}
	})
}

func mustParse(t *testing.T, data string) *Lockfile {
	t.Helper()
	l, err := ParseLockfile([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func hashes(roots []Root) []Hash {
	var hs []Hash
	for _, r := range roots {
		hs = append(hs, r.Hash)
	}
	return hs
}

func inCache(specs []*Spec) []*Spec {
	return slices.DeleteFunc(slices.Clone(specs), func(s *Spec) bool { return s.External })
}

// lock, environmentOf, leaf and dep write synthetic lockfiles.
func lock(version int, roots []string, nodes map[string]string) string {
	return fmt.Sprintf(`{"_meta":{"file-type":"spack-lockfile","lockfile-version":%d},`, version) + environmentOf(roots, nodes, "")[1:]
}

func environmentOf(roots []string, nodes map[string]string, included string) string {
	var rs, ns []string
	for _, r := range roots {
		rs = append(rs, `{"hash":"`+r+`","spec":"root"}`)
	}
	for h, n := range nodes {
		ns = append(ns, `"`+h+`":`+n)
	}
	s := `{"roots":[` + strings.Join(rs, ",") + `],"concrete_specs":{` + strings.Join(ns, ",") + `}`
	if included != "" {
		s += `,"include_concrete":` + included
	}
	return s + "}"
}

func leaf(name, hash string, deps ...string) string {
	return `{"name":"` + name + `","version":"1","hash":"` + hash + `","dependencies":[` + strings.Join(deps, ",") + `]}`
}

func dep(name, hash, deptype string) string {
	return `{"name":"` + name + `","hash":"` + hash + `","parameters":{"deptypes":["` + deptype + `"],"virtuals":[]}}`
}

func TestParseLockfileSaysWhatItFoundInstead(t *testing.T) {
	for text, want := range map[string]string{
		`[]`:                                   "no lockfile: format: want an object, found an array",
		`"x"`:                                  "no lockfile: format: want an object, found a string",
		`{"_meta": 1}`:                         "no lockfile: format: _meta: want an object, found a number",
		`{"roots": {}}`:                        "no lockfile: format: roots: want an array, found an object",
		`{"roots": [{"hash": []}]}`:            "no lockfile: format: roots.hash: want a string, found an array",
		`{"_meta": {"lockfile-version": 1.5}}`: "no lockfile: format: _meta.lockfile-version: want a whole number, found a number",
		`{"concrete_specs": []}`:               "no lockfile: format: concrete_specs: want an object, found an array",
	} {
		_, err := ParseLockfile([]byte(text))
		if !errors.Is(err, ErrFormat) || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", text, err, want)
		}
	}
}
