package pipeline

import (
	"testing"

	"go.yaml.in/yaml/v3"
)

// What a job of Spack's weighs in GitLab's memory was measured once: 7.4 kB.
func TestYAMLIsWeighedAboutAsGitLabDoes(t *testing.T) {
	var doc yaml.Node
	if err := yaml.Unmarshal(spackCI(t, "env-a.yml")["env-a.yml"], &doc); err != nil {
		t.Fatal(err)
	}
	m := measure{most: 1 << 30}
	m.node(doc.Content[0], 1)
	if each := m.bytes / 14; each < 5500 || each > 9500 {
		t.Errorf("a job weighs %d bytes, want about 7400", each)
	}
}
