package janitor

import (
	"sync"
	"time"
)

// A moment is one point in time by two clocks: ours and the store's. A run
// that only reads does not know the store's.
type moment struct {
	Ours  time.Time `json:"ours"`
	Store time.Time `json:"store,omitzero"`
}

// maxJump is how far two clocks may move against each other between runs.
const maxJump = time.Hour

// since returns how much time has passed by both clocks: the lesser.
func (m moment) since(then moment) time.Duration {
	passed := m.Ours.Sub(then.Ours)
	if !m.Store.IsZero() && !then.Store.IsZero() {
		passed = min(passed, m.Store.Sub(then.Store))
	}
	return passed
}

// jumped reports whether one of the clocks was set since.
func (m moment) jumped(then moment) bool {
	if m.Store.IsZero() || then.Store.IsZero() {
		return false
	}
	apart := m.Ours.Sub(then.Ours) - m.Store.Sub(then.Store)
	return apart > maxJump || apart < -maxJump
}

// store is the store's time, or ours where that is not known. Times of objects
// are compared with it.
func (m moment) store() time.Time {
	if m.Store.IsZero() {
		return m.Ours
	}
	return m.Store
}

// earlier is by which ages are told: neither clock makes young objects old.
func (m moment) earlier() time.Time {
	if !m.Store.IsZero() && m.Store.Before(m.Ours) {
		return m.Store
	}
	return m.Ours
}

// A clock is what is known of the store's: its time when ours was so much.
type clock struct {
	mu          sync.Mutex
	ours, store time.Time
}

func (c *clock) set(ours, store time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ours, c.store = ours, store
}

// now returns the present by both clocks.
func (c *clock) now(ours time.Time) moment {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := moment{Ours: ours}
	if !c.store.IsZero() {
		m.Store = c.store.Add(ours.Sub(c.ours))
	}
	return m
}
