package sif

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/internal/testing/apptainertest"
	"github.com/openbraininstitute/spacktainers/internal/testing/tooltest"
)

func needPacker(t testing.TB, p packer) { tooltest.Need(t, p.program) }

// config is that of an image with something of everything.
var config = v1.Config{
	Env:        []string{"PATH=/opt/view/bin:/bin", "GREETING=it's a \"test\" of $HOME `and` \\n", "EMPTY=", "0ODD=x"},
	Entrypoint: []string{"/opt/view/bin/show", "first arg"},
	Cmd:        []string{"default"},
	Labels:     map[string]string{"org.example.title": "a <b> & \"c\""},
}

const show = "#!/bin/sh\nfor a in \"$@\"; do printf '[%s]' \"$a\"; done; echo\n"

// Apptainer itself is the judge: with each packer, and for the architecture
// that is not ours.
func TestApptainerAcceptsWhatWeWrite(t *testing.T) {
	busybox := tooltest.Need(t, "busybox")
	a := needApptainer(t)
	for _, p := range packers {
		t.Run(p.program, func(t *testing.T) {
			needPacker(t, p)
			b := native(t)
			b.Engine = Native{p}
			accepted(t, apptainer{t, a.bin}, build(t, b, "amd64", config, busyboxLayer(t, busybox), layerOf(t, program("opt/view/bin/show", show))), "amd64")
		})
	}
	t.Run("gzip", func(t *testing.T) {
		b := native(t)
		b.Compression = Gzip
		accepted(t, apptainer{t, a.bin}, build(t, b, "amd64", config, busyboxLayer(t, busybox), layerOf(t, program("opt/view/bin/show", show))), "amd64")
	})
	t.Run("arm64", func(t *testing.T) {
		busybox := apptainertest.ARM64(t)
		accepted(t, apptainer{t, a.bin}, build(t, native(t), "arm64", config, busyboxLayer(t, busybox), layerOf(t, program("opt/view/bin/show", show))), "arm64")
	})
}

func accepted(t *testing.T, a apptainer, sif, arch string) {
	t.Helper()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"exec", sif, "show", "a b", "", `print("c")`, "$HOME"}, `[a b][][print("c")][$HOME]`},
		{[]string{"run", sif}, "[first arg][default]"},
		{[]string{"run", sif, "a b", `print("c  d")`, "$HOME", "e'f"}, `[first arg][a b][print("c  d")][$HOME][e'f]`},
		{[]string{"exec", sif, "sh", "-c", `echo "$GREETING"`}, `it's a "test" of $HOME ` + "`and` \\n"},
		{[]string{"exec", sif, "sh", "-c", `echo "$PATH"`}, "/opt/view/bin:/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin"},
		{[]string{"exec", "--env", "GREETING=hello", sif, "sh", "-c", `echo "$GREETING"`}, "hello"},
		{[]string{"exec", sif, "sh", "-c", `echo "$LD_LIBRARY_PATH"`}, "/.singularity.d/libs"},
		{[]string{"exec", sif, "test", "-e", "/.singularity.d/libs"}, ""},
		{[]string{"inspect", "--deffile", sif}, "bootstrap: oci\nfrom: tool@sha256:"},
		{[]string{"inspect", "--environment", sif}, "=== /.singularity.d/env/10-docker2singularity.sh ==="},
		{[]string{"inspect", "--runscript", sif}, "#!/bin/sh"},
		{[]string{"sif", "list", sif}, "FS (Squashfs/*System/" + arch + ")"},
	} {
		got := a.run(c.args...)
		if c.args[0] == "inspect" || c.args[0] == "sif" {
			if !strings.Contains(got, c.want) {
				t.Errorf("%q: got %q, want it to contain %q", c.args, got, c.want)
			}
		} else if got != c.want {
			t.Errorf("%q: got %q, want %q", c.args, got, c.want)
		}
	}
	var inspected struct {
		Data struct {
			Attributes struct {
				Labels map[string]string
			}
		}
	}
	if err := json.Unmarshal([]byte(a.run("inspect", "--labels", "--json", sif)), &inspected); err != nil {
		t.Fatal(err)
	}
	if got, want := inspected.Data.Attributes.Labels["org.example.title"], config.Labels["org.example.title"]; got != want {
		t.Errorf("label: got %q, want %q", got, want)
	}
	if out, err := a.try("verify", sif); err == nil || !strings.Contains(err.Error(), "signature not found") {
		t.Errorf("verify of an unsigned file: %q, %v", out, err)
	}
}

// Files of an image without a shell can be run by their path, as in what
// apptainer builds itself.
func TestImageWithoutAShellRuns(t *testing.T) {
	a := needApptainer(t)
	text, err := os.ReadFile(tooltest.Need(t, "busybox"))
	if err != nil {
		t.Fatal(err)
	}
	sif := build(t, native(t), "amd64", v1.Config{}, layerOf(t, program("opt/echo", string(text))))
	if got := a.run("exec", sif, "/opt/echo", "hello"); got != "hello" {
		t.Errorf("got %q", got)
	}
}

func TestSameImageGivesTheSameBytes(t *testing.T) {
	for _, p := range packers {
		t.Run(p.program, func(t *testing.T) {
			needPacker(t, p)
			b := native(t)
			b.Engine = Native{p}
			var sums []string
			tree, record := put(t, "amd64", config, layerOf(t, regular("b", strings.Repeat("b", 1<<20)), regular("a", "a"), hardlink("c", "a")), layerOf(t, regular("d/e/f", "f")))
			for i, folder := range []Folder{b.Folder, Folder(t.TempDir())} {
				if i > 0 {
					time.Sleep(1100 * time.Millisecond) // squashfs knows seconds
				}
				b.Folder = folder
				r, built, err := b.Build(t.Context(), tree, record, "feature/x")
				if err != nil || !built {
					t.Fatal(built, err)
				}
				if r.File != "tool__1.0__feature-x.sif" {
					t.Errorf("it is called %s", r.File)
				}
				sums = append(sums, r.SHA256)
			}
			if sums[0] != sums[1] {
				t.Error("two builds of one image differ")
			}
			again, built, err := b.Build(t.Context(), tree, record, "feature/x")
			if err != nil || built || again.SHA256 != sums[0] {
				t.Errorf("built what was there: %v, %v", built, err)
			}
			if err := os.Truncate(b.Folder.Path(again.File), 100); err != nil {
				t.Fatal(err)
			}
			if again, built, err = b.Build(t.Context(), tree, record, "feature/x"); err != nil || !built || again.SHA256 != sums[0] {
				t.Errorf("a truncated file was taken for what its record says: %v, %v", built, err)
			}
		})
	}
}

func TestFailedBuildLeavesTheOldFile(t *testing.T) {
	b := native(t)
	tree, record := put(t, "amd64", config, layerOf(t, regular("a", strings.Repeat("a", 1<<16))))
	old, _, err := b.Build(t.Context(), tree, record, "")
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := filepath.Glob(filepath.Join(tree.Dir("tool", "linux/amd64"), "blobs", "sha256", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, blob := range blobs {
		text, err := os.ReadFile(blob)
		if err != nil {
			t.Fatal(err)
		}
		if text[0] != 0x1f { // the layer
			continue
		}
		text[len(text)-5] ^= 1 // the checksum of gzip
		if err := os.WriteFile(blob, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b.Force = true
	if _, _, err := b.Build(t.Context(), tree, record, ""); err == nil || !strings.Contains(err.Error(), "layer sha256:") {
		t.Errorf("a damaged layer: %v", err)
	}
	if now, err := b.Folder.Read(old.File); err != nil || now != old {
		t.Errorf("the old file: %+v, %v", now, err)
	}
	left, err := filepath.Glob(b.Folder.Path(".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left over: %q, %v", left, err)
	}
}

func TestNames(t *testing.T) {
	for want, give := range map[string][4]string{
		"tool__1.0.sif":                     {"tool", "1.0", "", "amd64"},
		"tool__1.0-arm64.sif":               {"tool", "1.0", "", "arm64"},
		"tool__1.0__feature-x.sif":          {"tool", "1.0", "feature/x", "amd64"},
		"tool__1.0__feature-x-arm64.sif":    {"tool", "1.0", "feature/x", "arm64"},
		"tool__1.0__fix-arm64-amd64.sif":    {"tool", "1.0", "fix-arm64", "amd64"},
		"tool__1.0__amd64-amd64.sif":        {"tool", "1.0", "amd64", "amd64"},
		"tool__git.main-1.0-rc__a_b.sif":    {"tool", "git.main=1.0-rc", "a__b", "amd64"},
		"py-tool__2.1__dependabot-x-1.sif":  {"py-tool", "2.1", "dependabot/x-1", "amd64"},
		"tool__1.0-amd64-arm64.sif":         {"tool", "1.0-amd64", "", "arm64"},
		"nexus-storage__latest-arm64.sif":   {"nexus-storage", "latest", "", "arm64"},
		"tool__1.0__amd64-arm64.sif":        {"tool", "1.0", "amd64", "arm64"},
		"tool__1.0__release-2025-arm64.sif": {"tool", "1.0", "release/2025", "arm64"},
	} {
		name, err := NewName(give[0], give[1], give[2], give[3])
		if err != nil || name.String() != want {
			t.Errorf("%q: got %s, %v; want %s", give, name, err, want)
			continue
		}
		if parsed, ok := ParseName(want); !ok || parsed != name {
			t.Errorf("%s is read as %+v, not %+v", want, parsed, name)
		}
	}
	for _, bad := range []string{"tool.sif", "__1.0.sif", "tool__.sif", "tool__1.0.txt", "a__1__b__c.sif"} {
		if name, ok := ParseName(bad); ok {
			t.Errorf("%s is read as %+v", bad, name)
		}
	}
	if old, ok := ParseName("nexus-storage__latest__amd64.sif"); !ok || old.Branch != "" || old.Arch != "amd64" {
		t.Errorf("a predecessor's name is read as %+v", old)
	}
	if _, err := NewName("a__b", "1", "", "amd64"); err == nil {
		t.Error("a container's name with the separator is accepted")
	}
}

func TestUnfinishedFilesGoADayLater(t *testing.T) {
	b := native(t)
	tree, record := put(t, "amd64", config, layerOf(t, regular("a", "a")))
	old, young := b.Folder.Path(".x.sif.1.part"), b.Folder.Path(".x.sif.2.part")
	for _, path := range []string{old, young} {
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	past := timeAgo(PartAge * 2)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Build(t.Context(), tree, record, ""); err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(b.Folder.Path(".*"))
	if !slices.Equal(left, []string{young}) {
		t.Errorf("left over: %q", left)
	}
}

func timeAgo(d time.Duration) time.Time { return time.Now().Add(-d) }
