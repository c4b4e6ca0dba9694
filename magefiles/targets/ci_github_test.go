package targets

import "testing"

// The workflows of this repository are those that its configuration asks for: mage ci:github writes
// them anew.
func TestOurWorkflowsAreThoseOfTheConfiguration(t *testing.T) {
	t.Chdir("../..")
	config, err := loadConfig(ConfigFile)
	if err != nil {
		t.Fatal(err)
	}
	github, err := (&app{config: config}).github()
	if err != nil {
		t.Fatal(err)
	}
	files, err := github.Files()
	if err != nil {
		t.Fatal(err)
	}
	if err := checkFiles(workflows, files, "mage ci:github"); err != nil {
		t.Error(err)
	}
}

// What is not of releases alone is never handed to a pull request, however it is named.
func TestBranchesNeverGetWhatReleasesUse(t *testing.T) {
	config := defaultConfig()
	config.Branches = Branches{Mirror: "s3://branches", Registry: "registry.example.org/branches/", Credentials: "SHARED"}
	config.Registries = []Registry{{Prefix: "registry.example.org/", Credentials: "SHARED"}}
	a := &app{config: config}
	t.Chdir(t.TempDir())
	github, err := a.github()
	if err != nil {
		t.Fatal(err)
	}
	if len(github.Branch) != 2 || github.Branch[0] != "SHARED_ACCESS_KEY_ID" { // of the bucket, which no release has
		t.Errorf("branches get %v", github.Branch)
	}
}

// So is its pipeline of GitLab: mage ci:gitlab --root writes it.
func TestOurPipelineIsThatOfTheConfiguration(t *testing.T) {
	t.Chdir("../..")
	config, err := loadConfig(ConfigFile)
	if err != nil {
		t.Fatal(err)
	}
	text, err := config.gitlab(pipelinesDir, false).Root()
	if err != nil {
		t.Fatal(err)
	}
	if err := checkFiles(".", map[string][]byte{".gitlab-ci.yml": text}, "mage ci:gitlab --root >.gitlab-ci.yml"); err != nil {
		t.Error(err)
	}
}
