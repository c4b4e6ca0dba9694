package definition

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEnvironmentPutsTheUsersSettingsOverTheTemplate(t *testing.T) {
	const head = "spack:\n  view: /opt/view\n  concretizer:\n    unify: true\n"
	const packages = "  packages:\n    all:\n      require: [\"target=x86_64_v3\"]\n      providers:\n        mpi: [mpich]\n"
	tests := []struct{ name, user, want string }{
		{"nothing of its own", "", head + packages + "  specs: [a]\n"},
		{"a requirement replaces ours", "  packages: {all: {require: [target=zen4]}}\n",
			head + strings.Replace(packages, `["target=x86_64_v3"]`, "[target=zen4]", 1) + "  specs: [a]\n"},
		{"a provider is not doubled", "  packages:\n    all:\n      providers:\n        mpi: [openmpi]\n",
			head + strings.Replace(packages, "mpich", "openmpi", 1) + "  specs: [a]\n"},
		{"a package of its own goes behind", "  packages:\n    hdf5:\n      version: [1.10] # not 1.1\n",
			head + packages + "    hdf5:\n      version: [1.10]\n  specs: [a]\n"},
		{"a scalar for a scalar", "  concretizer:\n    unify: when_possible\n",
			strings.Replace(head, "true", "when_possible", 1) + packages + "  specs: [a]\n"},
		{"a mapping for a scalar", "  view:\n    default: {root: /v}\n",
			strings.Replace(head, "view: /opt/view", "view:\n    default: {root: /v}", 1) + packages + "  specs: [a]\n"},
		{"an override replaces the mapping", "  packages::\n    all:\n      target: [zen4]\n",
			head + "  packages::\n    all:\n      target: [zen4]\n  specs: [a]\n"},
		{"an override deeper down", "  packages:\n    all::\n      target: [zen4]\n",
			head + "  packages:\n    all::\n      target: [zen4]\n  specs: [a]\n"},
		{"an override of what is not ours is Spack's", "  config::\n    build_jobs: 4\n",
			head + packages + "  specs: [a]\n  config::\n    build_jobs: 4\n"},
		{"a list before ours", "  packages: {all: {providers: {mpi+: [openmpi]}}}\n",
			head + strings.Replace(packages, "mpi: [mpich]", "mpi+: [openmpi, mpich]", 1) + "  specs: [a]\n"},
		{"a list behind ours", "  packages: {all: {require-: ['%gcc@12']}}\n",
			head + strings.Replace(packages, `require: ["target=x86_64_v3"]`, `require-: ["target=x86_64_v3", '%gcc@12']`, 1) + "  specs: [a]\n"},
		{"a package's own requirement keeps the target", "  packages:\n    tls:\n      require: \"@3.3\" # one\n    net: {require: [{one_of: ['@1', '@2']}]}\n",
			head + packages + "    tls:\n      require: [\"@3.3\", target=x86_64_v3]\n    net: {require: [{one_of: ['@1', '@2']}, target=x86_64_v3]}\n  specs: [a]\n"},
		{"or names one", "  packages:\n    a: {require: '%gcc target=zen4'}\n    b: {require: [{any_of: ['arch=linux-debian12-zen4']}]}\n    c::\n      require: '+x'\n    d: {require: ['@1+target']}\n",
			head + packages + "    a: {require: '%gcc target=zen4'}\n    b: {require: [{any_of: ['arch=linux-debian12-zen4']}]}\n    c::\n      require: '+x'\n    d: {require: ['@1+target', target=x86_64_v3]}\n  specs: [a]\n"},
		{"all packages' too", "  packages: {all: {require: '%gcc@12'}}\n",
			head + strings.Replace(packages, `["target=x86_64_v3"]`, "['%gcc@12', target=x86_64_v3]", 1) + "  specs: [a]\n"},
		{"aliases and merge keys", "  definitions:\n    - x: &x [b]\n    - y: *x\n  packages:\n    p: &p {version: [1], buildable: false}\n    q: {<<: *p, version: [2]}\n",
			head + packages + "    p: {version: [1], buildable: false}\n    q: {version: [2], buildable: false}\n  specs: [a]\n  definitions:\n    - x: [b]\n    - y: [b]\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := loadOne(t, in("spack:\n  specs: [a]\n"+tt.user))
			for range 2 { // the second one: nothing was changed by the first
				got, err := d.Environment(Template("x86_64_v3"))
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, string(got)); diff != "" {
					t.Fatalf("environment (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestTemplateWithoutTargetPinsNone(t *testing.T) {
	if got := string(Template("")); strings.Contains(got, "require") || !strings.Contains(got, "mpi: [mpich]") {
		t.Errorf("got\n%s", got)
	}
}

func TestEnvironmentRefuses(t *testing.T) {
	d := loadOne(t, in(hello))
	for _, template := range []string{"", "spack: {", "view: true\n"} {
		if got, err := d.Environment([]byte(template)); err == nil {
			t.Errorf("got %q from the template %q", got, template)
		}
	}
	d = loadOne(t, map[string]string{"container_definitions/amd64/x.def": "Bootstrap: docker\nFrom: a\n"})
	if _, err := d.Environment(Template("")); err == nil {
		t.Error("got an environment of an Apptainer definition")
	}
}
