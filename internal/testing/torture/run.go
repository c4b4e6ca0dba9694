package torture

import (
	"strings"
	"time"
)

// A Run is one of the janitor's commands, as the oracle sees it: what it was told, and which
// requests it made.
type Run struct {
	Kind  string          // prune, purge, reindex, …
	Roots map[string]bool // hashes that the lockfiles on its command line need to run
	Repo  string          // whose root set it publishes
	Dry   bool            // it may write nothing

	Purges   map[string]bool // what a person wants to have gone, and what needs that
	Condemns bool            // it may delete nothing
	Brake    float64         // the part of the specs that may be condemned; 0 is all

	begun, ended time.Time
	left         time.Time // when it had ended, by the store's clock
	err          error
	actor        *Actor
	outside      time.Time // of its first write outside our prefix
	lastOutside  time.Time
	listings     []listing // complete ones
	mirror       string    // the address that it was given
	specs        int       // that were present when it began
	gone         map[string]bool
	before       state // when it began
	after        state // when it had ended
}

// A listing is one that was read to its end.
type listing struct {
	prefix string
	begun  time.Time
	ended  time.Time
}

// longest is how long a run is at work, about. What is live at both its ends, at the first one by a
// set that ends meanwhile and at the last one by another that came, may not have been when it looked.
const longest = 3 * time.Hour

// A state is what the oracle finds live, and what it finds referred to by nothing.
type state struct {
	live    map[string]bool // hashes
	orphans map[string]bool // keys
}

// looked returns when the run last began to list where a key is: what came before that it must
// know.
func (r *Run) looked(key string) time.Time {
	seen := r.begun
	for _, l := range r.listings {
		if strings.HasPrefix(key, l.prefix) && l.begun.After(seen) {
			seen = l.begun
		}
	}
	return seen
}

// lastLook returns when the run's last look ended: that with its last listing, since slow ones make
// a look long.
func (r *Run) lastLook() (seen time.Time) {
	for _, l := range r.listings {
		if l.ended.After(seen) {
			seen = l.ended
		}
	}
	return seen
}

func (w *World) sawListing(a *Actor, prefix string, begun time.Time) {
	if a.Run != nil {
		a.Run.listings = append(a.Run.listings, listing{prefix, begun, time.Now()})
	}
}

// begin has the oracle watch a command of the janitor.
func (w *World) begin(a *Actor, r *Run) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a.Run, r.actor, r.begun = r, a, time.Now()
	r.mirror, r.gone, r.specs = a.mirror, map[string]bool{}, w.oracle.specs()
	r.before = w.oracle.state(r, longest)
	w.oracle.runs = append(w.oracle.runs, r)
	w.note(a, "begins", r.Kind)
}

// end is when the command has returned.
func (w *World) end(r *Run, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r.ended, r.left, r.err = time.Now(), w.storeTime(), err
	r.after = w.oracle.state(r, 0)
	w.note(r.actor, "ends", r.Kind+":", errorText(err))
	w.oracle.ended(r)
}

// raised takes note that the brake was.
func (w *World) raised() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.oracle.raised = true
}

func errorText(err error) string {
	if err == nil {
		return "done"
	}
	return err.Error()
}
