package size

import "testing"

func TestALargerSizeHoldsTheSmaller(t *testing.T) {
	for value, want := range map[string]Size{"": Quick, "quick": Quick, "all": All, "long": Long} {
		t.Setenv(Variable, value)
		if got := Of(); got != want {
			t.Errorf("%q: got %v, want %v", value, got, want)
		}
		for _, needed := range []Size{Quick, All, Long} {
			skipped := false
			t.Run("needs", func(t *testing.T) {
				defer func() { skipped = t.Skipped() }()
				Need(t, needed)
			})
			if skipped != (needed > want) {
				t.Errorf("%q: a test that needs %v is skipped: %v", value, needed, skipped)
			}
		}
		if got := Pick(1, 10, 100); got != map[Size]int{Quick: 1, All: 10, Long: 100}[want] {
			t.Errorf("%q: picked %d", value, got)
		}
	}
}

func TestAMisspeltSizeIsNoQuickRun(t *testing.T) {
	t.Setenv(Variable, "full")
	defer func() {
		if recover() == nil {
			t.Error("full passed for a size")
		}
	}()
	Of()
}
