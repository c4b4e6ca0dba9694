package assemble

import (
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// asYAML is what a YAML library reads of build information.
type asYAML struct {
	Sbang    string            `yaml:"sbang_install_path"`
	Tree     string            `yaml:"buildpath"`
	Relative string            `yaml:"relative_prefix"`
	Text     []string          `yaml:"relocate_textfiles"`
	Binaries []string          `yaml:"relocate_binaries"`
	Links    []string          `yaml:"relocate_links"`
	Prefixes map[string]string `yaml:"hash_to_prefix"`
}

// agrees fails where the two readers understand a text and differ.
func agrees(t *testing.T, text string) {
	t.Helper()
	d, err := parseDistribution(text)
	var want asYAML
	if err != nil || yaml.Unmarshal([]byte(text), &want) != nil {
		return
	}
	got := asYAML{Sbang: d.Sbang, Tree: d.Tree, Relative: d.Relative, Text: d.Text, Binaries: d.Binaries, Links: d.Links}
	for hash, prefix := range d.Prefixes {
		if got.Prefixes == nil {
			got.Prefixes = map[string]string{}
		}
		got.Prefixes[string(hash)] = prefix
	}
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("%q:\ngot  %q\nYAML %q", text, got, want)
	}
}

var distributions = []string{
	"{sbang_install_path: /opt/software/bin/sbang, buildpath: /opt/software, spackprefix: /opt/spack, relative_prefix: linux/x-1-abc, relocate_textfiles: [lib/a.pc, 'it''s', \"Gr\\xFC\\xDFe \\u65E5\"], relocate_binaries: [], relocate_links: [lib/l], hardlinks_deduped: true, hash_to_prefix: {abc: /opt/software/linux/x-1-abc, def: '/opt/a b'}}\n",
	"{buildpath: /opt/software, relative_prefix: x, relocate_textfiles: [share/a name\n    that is long,\n  'share/quoted\n    too', \"share/double\n    quoted \\\n    twice\"], relocate_binaries: []}",
	"--- {buildpath: \"/a\\tb\\\\c\\\"\", relative_prefix: 'x'}\n...\n",
	"{buildpath: a:b, relative_prefix: c#d, relocate_textfiles: [a#b, -L/x, \"\", '']}",
}

func TestBuildInformationIsReadAsYAML(t *testing.T) {
	for _, text := range distributions {
		if _, err := parseDistribution(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		agrees(t, text)
	}
	d, err := parseDistribution("{buildpath: /opt, relative_prefix: x, prefix_to_hash: {/opt/x: abc}}")
	if err != nil || !reflect.DeepEqual(d.Prefixes, map[buildcache.Hash]string{"abc": "/opt/x"}) {
		t.Errorf("of Spack 0.19: %v, %v", d, err)
	}
}

func TestBuildInformationInAnotherFormIsRefused(t *testing.T) {
	for _, text := range []string{
		"", "buildpath: /opt\nrelative_prefix: x\n", "{buildpath: &a /opt}", "{buildpath: *a}", "{buildpath: !x y}", "{buildpath: /opt", "{buildpath: 'x}", `{buildpath: "\q"}`,
		"{buildpath: /opt} x", "{a: [b: c]}", "{relocate_textfiles: [[a]]}", "{relocate_textfiles: {a: b}}", "{a: {b: {c: d}}}", "{buildpath: | x}", "[a]", "{a b}",
	} {
		if d, err := parseDistribution(text); err == nil {
			t.Errorf("%q was read as %+v", text, d)
		}
	}
}

func FuzzParseDistribution(f *testing.F) {
	for _, text := range distributions {
		f.Add(text)
	}
	f.Fuzz(agrees)
}

// A YAML library makes a tree of two gigabytes of sixty megabytes of brackets.
func TestHostileBuildInformationTakesLittleMemory(t *testing.T) {
	for name, text := range map[string]string{
		"brackets":   strings.Repeat("[", maxInfo),
		"items":      "{relocate_textfiles: [" + strings.Repeat("a,", maxInfo/2-20) + "]}",
		"keys":       "{x: {" + strings.Repeat("a: b, ", maxInfo/6-10) + "}}",
		"line feeds": "{buildpath: \"" + strings.Repeat("\n", maxInfo-40) + "\"}",
		"quotes":     "{buildpath: '" + strings.Repeat("''", maxInfo/2-40) + "'}",
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = readDistribution(strings.NewReader(text)) // whether it is refused is not the point
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > 16*maxInfo {
			t.Errorf("%s: %d MB for %d", name, took>>20, len(text)>>20)
		}
	}
	if _, err := readDistribution(strings.NewReader(strings.Repeat(" ", maxInfo+1))); err == nil {
		t.Error("more than the limit was read")
	}
}
