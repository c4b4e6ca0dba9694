package suite

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A report reads the event stream of go test -json and tells a person of it. It counts leaves: a
// test that has subtests counts only where it fails and none of them does. A package that fails
// without a failed test, because it does not build for example, counts as one failure.
type report struct {
	w                       io.Writer
	rest                    []byte // a line that has not ended yet
	packages                map[string]*results
	builds                  map[string]*strings.Builder // what the compiler said, by import path
	reasons                 map[string][]string         // why tests were skipped
	passed, failed, skipped int
}

// results are what is known of a package that is being tested.
type results struct {
	output strings.Builder // outside any test
	tests  map[string]*result
	order  []string // as they started
}

type result struct {
	output  strings.Builder
	outcome string // pass, fail, skip; empty: not yet, or never
	parent  bool
}

// An event is a line of go test -json.
type event struct {
	Action      string
	Package     string
	ImportPath  string
	Test        string
	Output      string
	Elapsed     float64
	FailedBuild string
}

func newReport(w io.Writer) *report {
	return &report{
		w:        w,
		packages: map[string]*results{},
		builds:   map[string]*strings.Builder{},
		reasons:  map[string][]string{},
	}
}

func (r *report) Write(p []byte) (int, error) {
	r.rest = append(r.rest, p...)
	for {
		text, rest, ended := bytes.Cut(r.rest, []byte("\n"))
		if !ended {
			return len(p), nil
		}
		r.read(text)
		r.rest = rest
	}
}

func (r *report) read(text []byte) {
	var e event
	if json.Unmarshal(text, &e) != nil || e.Action == "" {
		fmt.Fprintf(r.w, "%s\n", text) // not an event, so a program speaks to the user
		return
	}
	switch {
	case e.Action == "build-output":
		r.build(e.ImportPath).WriteString(e.Output)
	case e.Package == "" || e.Action == "start":
	case e.Test == "":
		r.packageEvent(e)
	default:
		r.of(e.Package).testEvent(e)
	}
}

func (r *report) build(path string) *strings.Builder {
	if r.builds[path] == nil {
		r.builds[path] = &strings.Builder{}
	}
	return r.builds[path]
}

func (r *report) of(name string) *results {
	if r.packages[name] == nil {
		r.packages[name] = &results{tests: map[string]*result{}}
	}
	return r.packages[name]
}

func (p *results) testEvent(e event) {
	t := p.tests[e.Test]
	if t == nil {
		t = &result{}
		p.tests[e.Test] = t
		p.order = append(p.order, e.Test)
		if i := strings.LastIndexByte(e.Test, '/'); i > 0 && p.tests[e.Test[:i]] != nil {
			p.tests[e.Test[:i]].parent = true
		}
	}
	switch e.Action {
	case "output":
		t.output.WriteString(e.Output)
	case "pass", "fail", "skip":
		t.outcome = e.Action
	}
}

func (r *report) packageEvent(e event) {
	p := r.of(e.Package)
	switch e.Action {
	case "output":
		p.output.WriteString(e.Output)
	case "pass", "fail", "skip":
		r.finish(e, p)
		delete(r.packages, e.Package)
	}
}

// finish counts a package and prints its line, below it what failed in full.
func (r *report) finish(e event, p *results) {
	before := r.failed
	var failures strings.Builder
	for _, name := range p.order {
		r.count(e.Package, name, p, &failures)
	}
	if e.Action == "fail" && r.failed == before {
		r.failed++
		failures.WriteString(p.output.String())
		if b := r.builds[e.FailedBuild]; b != nil {
			failures.WriteString(b.String())
		}
	}
	remark := ""
	switch {
	case e.Action == "skip":
		remark = "  (no tests)"
	case strings.Contains(p.output.String(), "(cached)"):
		remark = "  (cached)"
	}
	fmt.Fprintln(r.w, line(r.failed == before, time.Duration(e.Elapsed*float64(time.Second)), e.Package)+remark)
	fmt.Fprint(r.w, indent(failures.String()))
}

// count takes one test into the counts, and its output into failures where it failed.
func (r *report) count(pkg, name string, p *results, failures *strings.Builder) {
	t := p.tests[name]
	switch {
	case t.outcome == "pass" && !t.parent:
		r.passed++
	case t.outcome == "skip" && !t.parent:
		r.skipped++
		why := reason(t.output.String())
		r.reasons[why] = append(r.reasons[why], pkg+"."+name)
	case t.outcome == "fail" || t.outcome == "": // without an outcome the package ended before the test did
		if !p.childFailed(name) {
			r.failed++
		}
		if t.outcome == "" {
			fmt.Fprintf(failures, "--- %s did not finish\n", name)
		}
		failures.WriteString(t.output.String())
	}
}

func (p *results) childFailed(name string) bool {
	return slices.ContainsFunc(p.order, func(other string) bool {
		o := p.tests[other].outcome
		return strings.HasPrefix(other, name+"/") && (o == "fail" || o == "")
	})
}

var logged = regexp.MustCompile(`(?m)^\s+[\w.-]+\.go:\d+: (.*)$`)

// reason returns what a skipped test said last.
func reason(output string) string {
	said := logged.FindAllStringSubmatch(output, -1)
	if len(said) == 0 {
		return "no reason given"
	}
	return strings.TrimSpace(said[len(said)-1][1])
}

// close counts packages that never ended, lists what was skipped and why, and writes the closing
// line.
func (r *report) close() {
	for _, name := range slices.Sorted(maps.Keys(r.packages)) {
		r.finish(event{Action: "fail", Package: name}, r.packages[name])
	}
	if len(r.rest) > 0 {
		fmt.Fprintf(r.w, "%s\n", r.rest)
	}
	for _, why := range slices.Sorted(maps.Keys(r.reasons)) {
		tests := r.reasons[why]
		slices.Sort(tests)
		fmt.Fprintf(r.w, "skipped: %s (%d)\n\t%s\n", why, len(tests), strings.Join(tests, "\n\t"))
	}
	fmt.Fprintf(r.w, "%d passed, %d failed, %d skipped\n", r.passed, r.failed, r.skipped)
}

func indent(s string) string {
	if s == "" {
		return ""
	}
	return "\t" + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n\t") + "\n"
}
