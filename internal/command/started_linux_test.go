package command

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestStartedTellsOfProgramsAtWork(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip(err)
	}
	program := t.TempDir() + "/named-sleep"
	if err := os.Symlink(sleep, program); err != nil {
		t.Fatal(err)
	}
	if at, known := Started("named-sleep"); !known || len(at) != 0 {
		t.Fatalf("before it is started: %v, %v", at, known)
	}
	before := time.Now()
	p := exec.CommandContext(t.Context(), program, "1000")
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	at, known := Started("named-sleep", "none")
	_ = p.Process.Kill()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) { // until it has ended, and nobody has asked how
		now, err := readProcess(p.Process.Pid)
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("it has not ended: %v", err)
		}
		if now.dead {
			break
		}
	}
	if left, known := Started("named-sleep"); !known || len(left) != 0 {
		t.Errorf("after it was killed: %v, %v", left, known)
	}
	_ = p.Wait() // killed
	if !known || len(at) != 1 || at[0].Sub(before).Abs() > 3*time.Second {
		t.Errorf("started at %v, told %v, %v", before, at, known)
	}
	if at, known := Started("named-sleep"); !known || len(at) != 0 {
		t.Errorf("after it has ended: %v, %v", at, known)
	}
}
