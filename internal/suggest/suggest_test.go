package suggest

import "testing"

func TestHint(t *testing.T) {
	known := []string{"--mirror", "--lock", "--platform", "containers:build", "containers:list"}
	for name, want := range map[string]string{
		"--mirrror":       `did you mean "--mirror"?`,
		"--MIRROR":        `did you mean "--mirror"?`,
		"containers:buil": `did you mean "containers:build"?`,
		"containers":      `did you mean "containers:build" or "containers:list"?`,
		"x":               `known are --lock, --mirror, --platform, containers:build, containers:list`,
	} {
		if got := Hint(name, known); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	if got := Hint("x", nil); got != "there are none" {
		t.Error(got)
	}
}
