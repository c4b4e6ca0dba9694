// Package clock has points in time by two clocks, ours and that of the store: whichever says that
// less time has passed counts.
package clock

import (
	"sync"
	"time"
)

// A Moment is one point in time by two clocks: ours and the store's. A run
// that only reads does not know the store's.
type Moment struct {
	Ours  time.Time `json:"ours"`
	Store time.Time `json:"store,omitzero"`
}

// MaxJump is how far two clocks may move against each other between runs.
const MaxJump = time.Hour

// Since returns how much time has passed by both clocks: the lesser.
func (m Moment) Since(then Moment) time.Duration {
	passed := m.Ours.Sub(then.Ours)
	if !m.Store.IsZero() && !then.Store.IsZero() {
		passed = min(passed, m.Store.Sub(then.Store))
	}
	return passed
}

// Jumped reports whether one of the clocks was set since.
func (m Moment) Jumped(then Moment) bool {
	if m.Store.IsZero() || then.Store.IsZero() {
		return false
	}
	apart := m.Ours.Sub(then.Ours) - m.Store.Sub(then.Store)
	return apart > MaxJump || apart < -MaxJump
}

// StoreTime is the store's time, or ours where that is not known. Times of objects
// are compared with it.
func (m Moment) StoreTime() time.Time {
	if m.Store.IsZero() {
		return m.Ours
	}
	return m.Store
}

// Earlier is by which ages are told: neither clock makes young objects old.
func (m Moment) Earlier() time.Time {
	if !m.Store.IsZero() && m.Store.Before(m.Ours) {
		return m.Store
	}
	return m.Ours
}

// A Clock is what is known of the store's: its time when ours was so much.
type Clock struct {
	mu          sync.Mutex
	ours, store time.Time
}

// Set notes what time it is at the store.
func (c *Clock) Set(ours, store time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ours, c.store = ours, store
}

// Now returns the present by both clocks.
func (c *Clock) Now(ours time.Time) Moment {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := Moment{Ours: ours}
	if !c.store.IsZero() {
		m.Store = c.store.Add(ours.Sub(c.ours))
	}
	return m
}
