package page_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/file"
	"github.com/openbraininstitute/spacktainers/internal/page"
	"github.com/openbraininstitute/spacktainers/internal/testing/chromiumtest"
	"github.com/openbraininstitute/spacktainers/internal/testing/synth"
	"github.com/openbraininstitute/spacktainers/internal/whymiss"
	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
)

var screenshots = flag.String("screenshots", "", "folder for pictures of the pages")

// mirror is what janitor:report hands to a page.
type mirror map[string]any

func aMirror(name string, picture janitor.Picture, known bool) mirror {
	var t janitor.Totals
	for _, bytes := range picture.Bytes {
		if bytes >= 0 {
			t.Specs, t.Objects, t.Bytes = t.Specs+1, t.Objects+3, t.Bytes+bytes
		}
	}
	m := mirror{"mirror": name, "made": "2026-03-01T12:00:00Z", "notes": []string{}, "totals": t, "runs": []any{}, "picture": picture, "condemned": nil, "due": nil, "builds": nil}
	if known {
		m["condemned"], m["due"] = janitor.Totals{Specs: 1, Bytes: 1}, janitor.Totals{}
	}
	return m
}

// write writes the page of some mirrors to a file.
func write(t *testing.T, mirrors ...mirror) (path string) {
	t.Helper()
	var b bytes.Buffer
	if err := page.Write(&b, fmt.Sprint("Build cache ", mirrors[0]["mirror"]), map[string]any{"mirrors": mirrors}); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// ill are names that would be more than text, if they were let.
var ill = []string{
	"</script><script>window.pwned=1</script>", "<img src=x onerror=window.pwned=1>", "--><svg onload=window.pwned=1>", "<!--<script>", "]]>", "a\u2028b\u2029c",
	"\"'`${window.pwned=1}", "javascript:window.pwned=1", "{{.Data}}", "\x00\x1b[2J", "\xff\xfe",
}

func hostile() mirror {
	p := janitor.Picture{Packages: ill, Versions: ill, Rules: append([]string{""}, ill...)}
	for i := range ill {
		p.Package, p.Version, p.Hash = append(p.Package, i), append(p.Version, i), append(p.Hash, buildcache.Hash(strings.Repeat(string(rune('a'+i)), 32)))
		p.Bytes, p.Uploaded, p.State, p.Rule = append(p.Bytes, int64(1000-i)), append(p.Uploaded, 20500), append(p.State, 1+i%6), append(p.Rule, i+1)
		p.From, p.Due = append(p.From, i), append(p.Due, 20600)
	}
	m := aMirror("s3://"+ill[0], p, true)
	m["notes"] = ill
	m["builds"] = builds(ill)
	return m
}

// builds says of as many containers as there are names that each misses something of its name.
func builds(names []string) whymiss.Overview {
	o := whymiss.Overview{Whole: 2, More: 7, Elsewhere: 1}
	for i, name := range names {
		o.Built = append(o.Built, whymiss.Built{Names: []string{name, "tag of " + name}, More: 3, Missing: len(names) - i, Cached: 1, Others: 2, Causes: []whymiss.Summary{
			{Text: "7 packages miss because " + name + "'s recipe changed", Specs: [][2]string{{name, "nearest " + name}},
				Differences: []whymiss.Difference{{Kind: whymiss.Kind(name), What: name, Wanted: name, Cached: "no " + name}}},
			{Text: "no spec named " + name + " is cached", Specs: [][2]string{{name, ""}}, Differences: []whymiss.Difference{{Kind: whymiss.Unknown, What: "name"}}},
		}})
	}
	return o
}

func TestAHostileNameEndsNoScript(t *testing.T) {
	text, err := os.ReadFile(write(t, hostile()))
	if err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]int{"<script": 2, "</script": 2, "<img": 0, "<svg": 0, "<!--": 0, "\u2028": 0, "http://": 1, "https://": 0} {
		if got := strings.Count(string(text), what); got != want {
			t.Errorf("%q is there %d times, want %d", what, got, want)
		}
	}
	if !strings.Contains(string(text), "default-src &#39;none&#39;; script-src &#39;sha256-") {
		t.Error("the page has no policy")
	}
}

func check(t *testing.T, b *chromiumtest.Browser) {
	t.Helper()
	if got := b.Eval("document.body.dataset.drawn"); got != "yes" {
		t.Errorf("the page did not draw itself")
	}
	for _, e := range b.Errors() {
		t.Errorf("the page said: %s", e)
	}
	for _, r := range b.Requests() {
		t.Errorf("the page asked for %s", r)
	}
	if wide := b.Eval("document.documentElement.scrollWidth - document.documentElement.clientWidth"); wide != 0.0 {
		t.Errorf("the page is %v pixels wider than its window", wide)
	}
}

func picture(t *testing.T, b *chromiumtest.Browser, name string) {
	if *screenshots != "" {
		b.Screenshot(filepath.Join(*screenshots, name+".png"))
	}
}

func want(t *testing.T, b *chromiumtest.Browser, expression string, value any) {
	t.Helper()
	if got := b.Eval(expression); got != value {
		t.Errorf("%s: got %v, want %v", expression, got, value)
	}
}

// plan is that of a small cache that Spack made, of which one environment is needed.
func plan(t *testing.T) *janitor.Plan {
	t.Helper()
	const spack = "../../testdata/spack/v3-unsigned/"
	store, err := file.Open(spack + "cache")
	if err != nil {
		t.Fatal(err)
	}
	j := janitor.Janitor{Store: store, Policy: janitor.Policy{Wait: 6 * 24 * time.Hour, MaxFraction: 1}, Roots: func(context.Context) (rootset.Roots, error) {
		lock, err := rootset.ReadLock("env-hello", func() (io.ReadCloser, error) { return os.Open(spack + "locks/env-hello.spack.lock") })
		return rootset.Roots{Locks: []rootset.Lock{lock}}, err
	}}
	p, err := j.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A picture holds what a plan says of each spec, and chains lead from each to its root.
func TestAPictureSaysWhatThePlanSays(t *testing.T) {
	p := plan(t)
	pic := p.Picture()
	going := 0
	for c := range p.Specs() {
		for i, h := range pic.Hash {
			if h == c.Hash && (janitor.PictureStates[pic.State[i]] != c.State || pic.Bytes[i] < c.Bytes || pic.Rules[pic.Rule[i]] != c.Reason) {
				t.Errorf("%s: %s, %d bytes, %s; the plan says %+v", h, janitor.PictureStates[pic.State[i]], pic.Bytes[i], pic.Rules[pic.Rule[i]], c)
			}
		}
		going++
	}
	kept := 0
	for k := range p.Kept() {
		kept++
		for i, h := range pic.Hash {
			if h != k.Hash {
				continue
			}
			length := 0
			for at := i; at >= 0; at = pic.From[at] - 1 {
				length++
			}
			if length != len(k.Chain) || pic.Rules[pic.Rule[i]] != k.Rule {
				t.Errorf("%s: %d steps by %q; the plan says %d by %q", h, length, pic.Rules[pic.Rule[i]], len(k.Chain), k.Rule)
			}
		}
	}
	if going == 0 || kept == 0 || going+kept > len(pic.Hash) {
		t.Errorf("%d specs, %d go, %d stay", len(pic.Hash), going, kept)
	}
}

func TestThePageInChromium(t *testing.T) {
	b := chromiumtest.Start(t)
	p := plan(t)
	m := aMirror("s3://our-cache", p.Picture(), true)
	m["condemned"], m["due"] = p.Room, p.Due
	path := write(t, m)
	b.Open(path, 1280, 900, false)
	check(t, b)
	names := map[string]bool{}
	for _, spec := range p.Picture().Package {
		names[p.Picture().Packages[spec]] = true
	}
	want(t, b, "document.querySelectorAll('#map button').length", float64(len(names)))
	want(t, b, "document.querySelector('#mirror').textContent", "s3://our-cache")
	want(t, b, "document.querySelectorAll('#goes tbody tr').length", float64(p.Room.Specs))
	want(t, b, "document.querySelectorAll('#ages tbody tr').length", 5.0)
	picture(t, b, "small-light")

	// Search by the keyboard: the one that is found shows its chain.
	b.Eval("document.querySelector('#search').focus()")
	b.Type("qs-tls@3.3")
	b.Eval("new Promise((done) => setTimeout(done, 400))")
	if found, _ := b.Eval("document.querySelector('#results').textContent").(string); !strings.Contains(found, "qs-tls@3.3/") {
		t.Errorf("the search found %q", found)
	}
	b.Press("Tab", 9)
	b.Press("Enter", 13)
	chain, _ := b.Eval("document.querySelector('#detail').textContent").(string)
	if !strings.Contains(chain, "env-hello") || !strings.Contains(chain, "hello-spack@1.1/") {
		t.Errorf("the chain is %q", chain)
	}
	want(t, b, "document.querySelectorAll('#chain li').length > 2", true)

	// In the map arrows move, Enter opens and Backspace goes back.
	b.Eval("document.querySelector('#map button').focus()")
	b.Press("ArrowRight", 39)
	want(t, b, "[...document.querySelectorAll('#map button')].indexOf(document.activeElement)", 1.0)
	b.Press("Enter", 13)
	want(t, b, "document.querySelectorAll('#path button').length", 2.0)
	b.Press("Backspace", 8)
	want(t, b, "document.querySelectorAll('#path button').length", 1.0)
	b.Eval("document.querySelector('input[value=age]').click()")
	want(t, b, "document.querySelectorAll('#legend li').length", 5.0)
	check(t, b)

	light := b.Eval("getComputedStyle(document.body).backgroundColor")
	b.Open(path, 1280, 900, true)
	if dark := b.Eval("getComputedStyle(document.body).backgroundColor"); dark == light {
		t.Errorf("dark and light are both %v", dark)
	}
	b.Open(path, 390, 800, true)
	check(t, b)
	picture(t, b, "small-dark-narrow")

	b.Open(write(t, hostile()), 1280, 900, false)
	check(t, b)
	want(t, b, "typeof window.pwned", "undefined")
	want(t, b, "document.querySelectorAll('img, svg[onload], a, iframe').length", 0.0)
	want(t, b, "document.querySelectorAll('#map button').length", float64(len(ill)))
	if text, _ := b.Eval("document.body.innerText").(string); !strings.Contains(text, ill[1]) || !strings.Contains(text, ill[0]) {
		t.Error("a hostile name is not there as text")
	}
	picture(t, b, "hostile")

	b.Open(write(t, aMirror("empty", janitor.NewPicture(), false)), 800, 600, false)
	check(t, b)
}

func TestThePageSaysWhyPackagesAreBuilt(t *testing.T) {
	b := chromiumtest.Start(t)
	const text, inner = "document.querySelector('#builds').innerText.trim()", "document.querySelector('#builds li summary')"
	m := aMirror("s3://our-cache", janitor.NewPicture(), true)
	open := func(value any, width int, dark bool) {
		t.Helper()
		m["builds"] = value
		b.Open(write(t, m), width, 900, dark)
		check(t, b)
	}
	open(builds([]string{"images/server:1.2 for linux/amd64", "b", "c", "d"}), 1280, false)
	want(t, b, "document.querySelectorAll('#builds .container').length", 4.0)
	want(t, b, "document.querySelectorAll('#builds .container[open]').length", 3.0)
	want(t, b, "document.querySelector('#builds .container > summary').innerText",
		"images/server:1.2 for linux/amd64, tag of images/server:1.2 for linux/amd64 and 3 more 4 packages would be built, 1 is cached")
	want(t, b, "document.querySelector('#builds li').firstChild.textContent", "7 packages miss because images/server:1.2 for linux/amd64's recipe changed")
	want(t, b, "document.querySelectorAll('#builds table').length", 4*3.0)
	if all, _ := b.Eval(text).(string); !strings.HasSuffix(all, "… and 7 containers more of which less would be built.\n\n2 other lockfiles: all of their packages are cached, so that nothing would be built.\n\n1 lockfile of other platforms, which have another build cache.") {
		t.Errorf("got %q", all)
	}
	picture(t, b, "builds-light")

	// What differs opens by the keyboard.
	b.Eval("document.querySelector('#builds .container > summary').focus()")
	b.Press("Tab", 9)
	want(t, b, "document.activeElement === "+inner, true)
	want(t, b, inner+".parentNode.open", false)
	b.Press("Enter", 13)
	want(t, b, inner+".parentNode.open", true)
	picture(t, b, "builds-open")
	check(t, b)

	open(builds([]string{strings.Repeat("long", 100), "b"}), 390, true)
	b.Eval("document.querySelectorAll('#builds details').forEach((d) => d.open = true)")
	check(t, b)
	picture(t, b, "builds-dark-narrow")

	open(whymiss.Overview{Whole: 1}, 1280, false)
	want(t, b, text, "1 lockfile: all of its packages are cached, so that nothing would be built.")
	open(whymiss.Overview{Problem: "the build cache has no index"}, 1280, false)
	want(t, b, text, "It cannot be said: the build cache has no index")
	open(nil, 1280, false)
	want(t, b, text, "It is not known what is installed: give lockfiles or images.")
}

// big is a picture of a cache as big as one likes, in which a third goes.
func big(specs int) janitor.Picture {
	c := synth.Cache{Specs: specs, Seed: 1, Layout: 3, Newest: time.Date(2026, 2, 28, 0, 0, 0, 0, time.UTC)}
	p := janitor.NewPicture()
	p.Rules = []string{"", "lock images/neocortex", "unneeded"}
	names, versions := map[string]int{}, map[string]int{}
	number := func(known map[string]int, list *[]string, text string) int {
		n, ok := known[text]
		if !ok {
			n = len(*list)
			known[text], *list = n, append(*list, text)
		}
		return n
	}
	for i := range specs {
		p.Package, p.Version = append(p.Package, number(names, &p.Packages, c.Name(i))), append(p.Version, number(versions, &p.Versions, c.Version(i)))
		day := c.ModTime(i).Unix() / 86400
		p.Hash, p.Uploaded = append(p.Hash, c.Hash(i)), append(p.Uploaded, day)
		n := int64(len(c.Name(i)))
		p.Bytes = append(p.Bytes, n*n*n*n*int64(1+(i*7919)%400))
		state, rule, from, due := 1, 1, max(0, i-i%17), int64(0)
		if i%3 == 0 {
			state, rule, from, due = 2+i%5, 2, 0, 20513+int64(i%9)
		}
		p.State, p.Rule, p.From, p.Due = append(p.State, state), append(p.Rule, rule), append(p.From, from), append(p.Due, due)
	}
	return p
}

func TestThePageOf100000Specs(t *testing.T) {
	b := chromiumtest.Start(t)
	path := write(t, aMirror("s3://spacktainers-cache-amd64", big(100_000), true), aMirror("s3://spacktainers-cache-arm64", big(2000), true))
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	b.Open(path, 1280, 900, false)
	check(t, b)
	t.Logf("%d bytes, drawn in %s, of which script %v ms", info.Size(), time.Since(began).Round(time.Millisecond),
		b.Eval("Math.round(performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd - performance.getEntriesByType('navigation')[0].responseEnd)"))
	want(t, b, "document.querySelectorAll('#map button').length <= 401", true)
	want(t, b, "document.querySelectorAll('#goes tbody tr').length", 400.0)
	want(t, b, "document.querySelectorAll('#growth svg path').length", 2.0)
	want(t, b, "document.querySelectorAll('#mirrors button').length", 2.0)
	picture(t, b, "big-light")
	b.Eval("document.querySelector('#map button').click()")
	want(t, b, "document.querySelectorAll('#path button').length", 2.0)
	b.Eval("document.querySelector('#search').value = 'a'; document.querySelector('#search').dispatchEvent(new Event('input'))")
	b.Eval("new Promise((done) => setTimeout(done, 1500))")
	want(t, b, "document.querySelectorAll('#results button').length", 50.0)
	b.Eval("document.querySelectorAll('#mirrors button')[1].click()")
	want(t, b, "document.querySelector('#mirror').textContent", "s3://spacktainers-cache-arm64")
	check(t, b)
	b.Open(path, 1280, 900, true)
	picture(t, b, "big-dark")
}
