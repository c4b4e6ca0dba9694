package definition

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const copies = hello + "spacktainer:\n  files:\n    - files/x:/opt/x\n    - files/x/script.sh:/opt/script.sh\n"

// withInputs is a repository whose definition has every sort of input.
func withInputs() map[string]string {
	files := in(copies)
	files["container_definitions/amd64/x/Dockerfile.epilogue"] = "RUN true\n"
	files["container_definitions/amd64/x/spack.lock"] = "{}"
	files["spacktainer/files/x/link"] = "-> script.sh"
	return files
}

func inputs(t *testing.T, d Definition) []Input {
	t.Helper()
	got, err := d.Inputs()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestInputsListsEveryFileOnce(t *testing.T) {
	type input struct {
		Path string
		Mode fs.FileMode
	}
	var got []input
	for _, i := range inputs(t, loadOne(t, withInputs())) {
		got = append(got, input{i.Path, i.Mode})
		if folder := i.Mode.IsDir(); folder != (i.SHA256 == "") {
			t.Errorf("%s has the digest %q", i.Path, i.SHA256)
		}
	}
	want := []input{
		{"container_definitions/amd64/x/Dockerfile.epilogue", 0o644},
		{"container_definitions/amd64/x/spack.yaml", 0o644},
		{"spacktainer/files/x", fs.ModeDir | 0o755},
		{"spacktainer/files/x/link", fs.ModeSymlink | 0o777},
		{"spacktainer/files/x/script.sh", 0o644},
		{"spacktainer/files/x/sub", fs.ModeDir | 0o755},
		{"spacktainer/files/x/sub/.hidden", 0o644},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("inputs (-want +got):\n%s", diff)
	}
}

func TestInputsChangeWithEveryInput(t *testing.T) {
	const folder = "spacktainer/files/x/"
	tests := []struct {
		name   string
		change func(root string) error
		same   bool
	}{
		{"a rename", func(r string) error {
			return os.Rename(filepath.Join(r, folder, "sub/.hidden"), filepath.Join(r, folder, "sub/.other"))
		}, false},
		{"a hidden file", func(r string) error { return os.WriteFile(filepath.Join(r, folder, ".new"), nil, 0o644) }, false},
		{"a text in a folder", func(r string) error { return os.WriteFile(filepath.Join(r, folder, "sub/.hidden"), []byte("i"), 0o644) }, false},
		{"an empty folder", func(r string) error { return os.Mkdir(filepath.Join(r, folder, "empty"), 0o755) }, false},
		{"an executable", func(r string) error { return os.Chmod(filepath.Join(r, folder, "script.sh"), 0o755) }, false},
		{"another link", func(r string) error {
			link := filepath.Join(r, folder, "link")
			if err := os.Remove(link); err != nil {
				return err
			}
			return os.Symlink("sub", link)
		}, false},
		{"the epilogue", func(r string) error {
			return os.WriteFile(filepath.Join(r, "container_definitions/amd64/x/Dockerfile.epilogue"), []byte("RUN false\n"), 0o644)
		}, false},
		{"the definition", func(r string) error {
			return os.WriteFile(filepath.Join(r, "container_definitions/amd64/x/spack.yaml"), []byte(copies+"  strip: false\n"), 0o644)
		}, false},
		{"another umask", func(r string) error { return os.Chmod(filepath.Join(r, folder, "script.sh"), 0o600) }, true},
		{"executable for others than its owner", func(r string) error { return os.Chmod(filepath.Join(r, folder, "script.sh"), 0o655) }, true},
		{"a lockfile of another Spack", func(r string) error {
			return os.WriteFile(filepath.Join(r, "container_definitions/amd64/x/spack.lock"), []byte("{ }"), 0o644)
		}, true},
		{"a file that is not copied", func(r string) error { return os.WriteFile(filepath.Join(r, "spacktainer/files/other"), nil, 0o644) }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := loadOne(t, withInputs())
			before := inputs(t, d)
			if err := tt.change(d.Root); err != nil {
				t.Fatal(err)
			}
			if same := cmp.Equal(before, inputs(t, d)); same != tt.same {
				t.Errorf("the same inputs: %v, want %v", same, tt.same)
			}
		})
	}
}

func TestInputsFollowASharedEpilogue(t *testing.T) {
	files := in(hello)
	files["container_definitions/_shared/e"] = "RUN true\n"
	files["container_definitions/amd64/x/Dockerfile.epilogue"] = "-> ../../_shared/e"
	d := loadOne(t, files)
	before := inputs(t, d)
	if err := os.WriteFile(filepath.Join(d.Root, "container_definitions/_shared/e"), []byte("RUN false\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if cmp.Equal(before, inputs(t, d)) {
		t.Error("an edit of the shared epilogue is no change")
	}
}

func TestInputsRefuseAFileThatIsGone(t *testing.T) {
	d := loadOne(t, withInputs())
	if err := os.RemoveAll(filepath.Join(d.Root, FilesFolder)); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Inputs(); err == nil {
		t.Errorf("got %v", got)
	}
}
