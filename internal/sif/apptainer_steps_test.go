package sif

import (
	"bytes"
	"slices"
	"testing"
)

// Steps are told, and all else, such as what %post prints, stays in the log.
func TestStepsOfApptainerAreTold(t *testing.T) {
	var log bytes.Buffer
	var steps []string
	w := &stepWriter{log: &log, step: func(s string) { steps = append(steps, s) }}
	for _, part := range []string{"INFO:    Starting bui", "ld...\nINFO:    Extracting OCI image...\n+ echo INFO: x...\nINFO: x...\nWARNING: no...\n",
		"\x1b[34mINFO:   \x1b[0m Creating SIF file...\nINFO:    Build complete: x.sif\nhalf"} {
		if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if want := []string{"starting build", "extracting OCI image", "creating SIF file"}; !slices.Equal(steps, want) {
		t.Errorf("steps %q, want %q", steps, want)
	}
	if want := "+ echo INFO: x...\nINFO: x...\nWARNING: no...\nINFO:    Build complete: x.sif\nhalf"; log.String() != want {
		t.Errorf("log %q, want %q", &log, want)
	}
}
