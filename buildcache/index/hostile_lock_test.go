package index_test

import "strings"

// hostileLocks are lockfiles that are not as Spack writes them today, with what
// the error says of those that are refused.
var hostileLocks = func() []struct{ name, text, say string } {
	edit := func(old, text string) string {
		if !strings.Contains(smallLock, old) {
			panic(old)
		}
		return strings.Replace(smallLock, old, text, 1)
	}
	a, aNeeds := concrete(hashA, "a", "1", ""), func(h string) string { return concrete(hashA, "a", "1", "", dependency(h, "run")) }
	env := func(roots, nodes []string, included ...string) string { return environment(roots, nodes, included...) }
	lock := func(roots, nodes []string, included ...string) string {
		return lockOf(5, env(roots, nodes, included...))
	}
	const meta = `"_meta":{"file-type":"spack-lockfile","lockfile-version":6,"specfile-version":5}`
	bare := func(members string) string { return "{" + meta + "," + members + "}" }
	return []struct{ name, text, say string }{
		{"as it should be", smallLock, ""},
		{"empty", bare(`"roots":[],"concrete_specs":{}`), ""},
		{"_meta last", "{" + strings.TrimPrefix(strings.TrimSuffix(smallLock, "}"), "{"+meta+",") + "," + meta + "}", ""},
		{"nothing", "", "cut off"},
		{"null", "null", "want '{'"},
		{"an empty object", "{}", "file type"},
		{"an index", small, "file type"},
		{"no _meta", `{"roots":[],"concrete_specs":{}}`, "file type"},
		{"_meta null", `{"_meta":null,"roots":[],"concrete_specs":{}}`, "want '{'"},
		{"_meta twice", edit(meta, meta+","+meta), `the key "_meta" is there twice`},
		{"_meta within", edit(`"/e":{`, `"/e":{"_meta":5,`), ""},
		{"another file type", edit(`"spack-lockfile"`, `"spack"`), `its file type is "spack"`},
		{"no version", edit(`"lockfile-version":6,`, ``), "does not say its version"},
		{"version 3", edit(`version":6`, `version":3`), "concretize again"},
		{"version 3 with its short hashes", strings.Replace(bare(`"concrete_specs":{"abc":{}}`), `version":6`, `version":3`, 1), "concretize again"},
		{"version 7", edit(`version":6`, `version":7`), ""},
		{"version 3", edit(`version":6`, `version":3`), "concretize again"},
		{"version with fraction", edit(`version":6`, `version":6.0`), "whole number"},
		{"version a string", edit(`version":6`, `version":"6"`), "want a value"},
		{"version null", edit(`version":6`, `version":null`), "want a value"},
		{"version huge", edit(`version":6`, `version":99999999999999999999`), "whole number"},
		{"no roots", bare(`"concrete_specs":{}`), "missing"},
		{"no nodes", bare(`"roots":[]`), "missing"},
		{"roots null", bare(`"roots":null,"concrete_specs":{}`), "want '['"},
		{"roots an object", bare(`"roots":{},"concrete_specs":{}`), "want '['"},
		{"nodes null", bare(`"roots":[],"concrete_specs":null`), "want '{'"},
		{"a node null", bare(`"roots":[],"concrete_specs":{"` + hashA + `":null}`), "want '{'"},
		{"a root null", bare(`"roots":[null],"concrete_specs":{}`), "want '{'"},
		{"a root without hash", bare(`"roots":[{"spec":"zlib"}],"concrete_specs":{}`), "a root has no hash"},
		{"a root with short hash", bare(`"roots":[{"hash":"abc","spec":"zlib"}],"concrete_specs":{}`), `"abc" is no spec hash`},
		{"a root twice", lock([]string{hashA, hashA}, []string{a}), ""},
		{"a root before its node", lock([]string{hashB}, []string{a, concrete(hashB, "b", "1", "")}), ""},
		{"a root without node", lock([]string{hashB}, []string{a}), "no node has the hash " + hashB + " of a root"},
		{"a root of an included environment without node", lock(nil, []string{a}, `"/e":`+env([]string{hashB}, nil)), "of a root"},
		{"a root whose node another environment has", lock([]string{hashB}, nil, `"/e":`+env([]string{hashA}, []string{concrete(hashB, "b", "1", "")}), `"/f":`+env(nil, []string{a})), ""},
		{"a dependency without node", lock(nil, []string{aNeeds(hashB)}), "a@1/aaaaaaa needs " + hashB},
		{"a build spec without node", lock(nil, []string{concrete(hashA, "a", "1", `"build_spec":{"hash":"`+hashB+`"},`)}), "a@1/aaaaaaa needs " + hashB},
		{"needs itself", lock(nil, []string{aNeeds(hashA)}), "a@1/aaaaaaa depends on itself"},
		{"spliced from itself", lock(nil, []string{concrete(hashA, "a", "1", `"build_spec":{"hash":"`+hashA+`"},`)}), ""},
		{"a cycle", lock(nil, []string{concrete(hashC, "c", "1", "", dependency(hashA, "run")), aNeeds(hashB), concrete(hashB, "b", "1", "", dependency(hashA, "link"))}), "a@1/aaaaaaa depends on itself"},
		{"a cycle through environments", lock(nil, []string{aNeeds(hashB)}, `"/e":`+env(nil, []string{concrete(hashB, "b", "1", "", dependency(hashA, "link"))})), "depends on itself"},
		{"a diamond", lock(nil, []string{aNeeds(hashB), concrete(hashB, "b", "1", "", dependency(hashC, "run")), concrete(hashC, "c", "1", ""), concrete(hashD, "d", "1", "", dependency(hashB, "run"), dependency(hashC, "run"))}), ""},
		{"a node twice", lock(nil, []string{a, a}), hashA + " is there twice"},
		{"a node twice in an included environment", lock(nil, []string{a}, `"/e":`+env(nil, []string{a, a})), hashA + " is there twice"},
		{"a node again", lock(nil, []string{a}, `"/e":`+env(nil, []string{a}, `"/e":`+env(nil, []string{a}))), ""},
		{"a node again with another version", lock(nil, []string{a}, `"/e":`+env(nil, []string{concrete(hashA, "a", "2", "")})), "a@1/aaaaaaa and a@2 have the same hash"},
		{"a node again with another name", lock(nil, []string{a}, `"/e":`+env(nil, []string{concrete(hashA, "b", "1", "")})), "have the same hash"},
		{"a cycle in a node that does not count", lock(nil, []string{a}, `"/e":`+env(nil, []string{aNeeds(hashA)})), ""},
		{"a dangling node that does not count", lock(nil, []string{a}, `"/e":`+env(nil, []string{aNeeds(hashB)})), "needs " + hashB},
		{"a dangling node that does not count, before the one that does", lock(nil, nil, `"/f":`+env(nil, []string{aNeeds(hashB)}), `"/e":`+env(nil, []string{a})), "needs " + hashB},
		{"key is not the hash", strings.Replace(lock(nil, []string{a}), `"`+hashA+`":`, `"`+hashB+`":`, 1), "says that its hash is"},
		{"included null", bare(`"roots":[],"concrete_specs":{},"include_concrete":null`), ""},
		{"included a list", bare(`"roots":[],"concrete_specs":{},"include_concrete":[]`), "want '{'"},
		{"an environment null", bare(`"roots":[],"concrete_specs":{},"include_concrete":{"/e":null}`), "want '{'"},
		{"an environment without roots", bare(`"roots":[],"concrete_specs":{},"include_concrete":{"/e":{"concrete_specs":{}}}`), `environment "/e" lacks`},
		{"a path twice", lock(nil, nil, `"/e":`+env(nil, nil), `"\/e":`+env(nil, nil)), "twice"},
		{"paths that are the same in broken UTF-8", lock(nil, nil, "\"\xff\":"+env(nil, nil), "\"\xfe\":"+env(nil, nil)), "twice"},
		{"roots twice", bare(`"roots":[],"concrete_specs":{},"roots":[]`), "twice"},
		{"nodes twice", bare(`"roots":[],"concrete_specs":{},"concrete_specs":{}`), "twice"},
		{"an unknown key twice", bare(`"x":1,"roots":[],"concrete_specs":{},"x":2`), "twice"},
		{"an unknown key twice in a node", lock(nil, []string{concrete(hashA, "a", "1", `"x":[{"y":1,"\u0079":1}],`)}), "twice"},
		{"an unknown key twice in a dependency", lock(nil, []string{concrete(hashA, "a", "1", "", `{"x":1,"x":1,"hash":"`+hashB+`","type":["run"]}`), concrete(hashB, "b", "1", "")}), "twice"},
		{"the same keys in two objects", bare(`"roots":[],"concrete_specs":{},"x":[{"y":{"y":1}},{"y":1}]`), ""},
		{"an empty key", bare(`"":1,"roots":[],"concrete_specs":{}`), ""},
		{"an empty key twice", bare(`"":1,"roots":[],"concrete_specs":{},"":2`), "twice"},
		{"a key in capitals", edit(`"roots"`, `"Roots"`), `the key "Roots" is not spelt "roots"`},
		{"a key in other letters", edit(`"roots"`, `"rootſ"`), `is not spelt "roots"`},
		{"a key in capitals besides", edit(`"name":"b"`, `"name":"b","NAME":"c"`), `is not spelt "name"`},
		{"a path in capitals", lock(nil, nil, `"ROOTS":`+env(nil, nil)), ""},
		{"an unknown key in capitals", edit(`"name":"b"`, `"name":"b","X":1`), ""},
		{"a variant in capitals", edit(`"cflags":[]`, `"Name":"x"`), ""},
		{"unknown dependency type", edit(`"build","link"`, `"build","lynk"`), `unknown dependency type "lynk"`},
		{"no dependency type", edit(`"build","link"`, ``), "list of no types"},
		{"no dependency type but an old one", edit(`"parameters":{"deptypes":["build","link"]`, `"type":["run"],"parameters":{"deptypes":[]`), "list of no types"},
		{"an old type that nobody asks for", edit(`"parameters":{"deptypes":["build","link"]`, `"type":["x"],"parameters":{"deptypes":["run"]`), "unknown dependency type"},
		{"old dependency", edit(`"parameters":{"deptypes":["build","link"],"virtuals":[]}`, `"type":["run","test"]`), ""},
		{"what nobody goes by", edit(`"arch":{"platform":"linux"}`, `"arch":5,"namespace":[],"compiler":"x","parameter":{"x":1e999}`), ""},
		{"an external in an odd place", edit(`"path":"/usr"`, `"path":5`), ""},
		{"external empty", edit(`{"path":"/usr"}`, `{ }`), ""},
		{"external true", edit(`{"path":"/usr"}`, `true`), "external is no object"},
		{"another document", smallLock + "{}", "behind the end"},
		{"white space", " \t\r\n" + strings.NewReplacer(":", " :\n", ",", "\t, ", "{", "{ ", "}", "\r}").Replace(smallLock) + "\n", ""},
		{"deep", bare(`"roots":[],"concrete_specs":{},"x":` + strings.Repeat("[", 9999) + strings.Repeat("]", 9999)), ""},
		{"too deep", bare(`"roots":[],"concrete_specs":{},"x":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000)), "within each other"},
	}
}()
