package torture

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
)

// Draw makes the history of a seed.
func Draw(seed uint64) History {
	d := &drawing{Rand: rand.New(rand.NewPCG(seed, 0)), h: History{Seed: seed}}
	d.setting()
	d.weeks = 3 + d.IntN(4)
	d.clocks()
	d.rules()
	d.prunes()
	if d.one(3) {
		d.duel()
	}
	for range 2 + d.IntN(8) {
		d.push()
	}
	for range d.IntN(11) {
		d.other()
	}
	if d.Rand = rand.New(rand.NewPCG(seed, 2)); d.one(8) {
		d.hurry()
	}
	if d.Rand = rand.New(rand.NewPCG(seed, 3)); d.one(4) {
		d.rare()
	}
	slices.SortStableFunc(d.h.Steps, func(a, b Step) int { return cmp.Compare(a.At, b.At) })
	for i := range d.h.Steps {
		d.h.Steps[i].ID = i + 1
	}
	return d.h
}

type drawing struct {
	*rand.Rand
	h      History
	weeks  int
	nights []time.Duration // when somebody prunes
}

func (d *drawing) one(in int) bool { return d.IntN(in) == 0 }

// between draws a duration.
func (d *drawing) between(from, to time.Duration) time.Duration {
	return from + time.Duration(d.Int64N(int64(to-from)))
}

func pick[T any](d *drawing, of ...T) T { return of[d.IntN(len(of))] }

func (d *drawing) setting() {
	d.h.Setting = Setting{
		Shape: d.Uint64N(40), Specs: 6 + d.IntN(5)*6, Layouts: pick(d, []int{2}, []int{3}, []int{3}, []int{2, 3}), Signed: d.one(2),
		Repos: 1 + d.IntN(3), Views: d.IntN(3), Page: pick(d, 3, 10, 50, 1000), Batch: pick(d, 2, 10, 1000),
		Conditions: pick(d, "", "", "", "", "", "", "", "", "ignored", "refused"),
	}
}

// clocks lets the store's and those of the janitor's machines be wrong, and be set.
func (d *drawing) clocks() {
	if d.one(4) {
		d.h.Skew = d.between(-2*day, 2*day).Round(time.Second)
	}
	if d.one(8) {
		d.h.JumpAt, d.h.Jump = d.between(0, time.Duration(d.weeks)*week).Round(time.Second), d.between(-8*day, 8*day).Round(time.Second)
	}
	if d.one(4) {
		d.h.Clock = pick(d, d.between(-25*time.Minute, 25*time.Minute), d.between(-25*time.Minute, 25*time.Minute), d.between(-3*day, 3*day)).Round(time.Second)
	}
	if d.one(8) {
		d.h.OffAt, d.h.OffFor = d.between(0, time.Duration(d.weeks)*week).Round(time.Second), d.between(time.Hour, 2*week).Round(time.Second)
		d.h.Off = d.between(-8*day, 8*day).Round(time.Second)
	}
}

func (d *drawing) rules() {
	if d.one(5) {
		d.h.MaxAge = 10 * day
	}
	if d.one(6) {
		d.h.KeepLast = 1 + d.IntN(2)
	}
	if d.one(6) {
		d.h.Used = 9 * day
	}
	if d.one(6) {
		d.h.Brake = pick(d, 0.1, 0.3, 0.5)
	}
	d.h.DropBuild = d.one(4)
	if d.one(12) {
		d.h.NoRoots, d.h.Repos, d.h.MaxAge = true, 1, 10*day
	}
}

func (d *drawing) add(s Step) {
	s.At = s.At.Round(time.Second)
	d.h.Steps = append(d.h.Steps, s)
}

// prunes lets every repository prune at night, weekly, or every few days; with minutes of jitter,
// now and then all at once, and now and then one does not come.
func (d *drawing) prunes() {
	often := pick(d, 7, 7, 7, 7, 3, 2)
	for night := 0; night < 7*d.weeks; night += often {
		together := d.one(4)
		for repo := range d.h.Repos {
			if d.one(8) {
				continue
			}
			at := time.Duration(night)*day + 2*time.Hour + time.Duration(repo%often)*day + d.between(0, 20*time.Minute)
			if together {
				at -= time.Duration(repo%often) * day
			}
			d.nights = append(d.nights, at)
			s := Step{At: at, Do: "prune", Repo: repo, Faults: d.faults()}
			if d.one(6) {
				s.Do = pick(d, "inventory", "batch", "batch")
				s.Pause = d.between(time.Minute, 20*time.Hour).Round(time.Second)
			}
			d.add(s)
		}
	}
	if len(d.nights) == 0 {
		d.nights = append(d.nights, time.Hour)
	}
}

// duel has a run be stopped while it deletes, so long that its lease runs out and another one
// begins.
func (d *drawing) duel() {
	repo, night := d.IntN(d.h.Repos), d.between(week, time.Duration(d.weeks)*week)
	d.add(Step{At: night, Do: "prune", Repo: repo, Faults: &Faults{StopAt: 3 + d.IntN(12), Stop: d.between(20*time.Minute, 60*time.Minute).Round(time.Second), Behind: d.one(2)}})
	d.add(Step{At: night + d.between(11*time.Minute, 35*time.Minute), Do: "prune", Repo: (repo + 1) % d.h.Repos})
}

// hurry has the store's clock be set ahead soon after the first runs, and all prune before and
// behind that.
func (d *drawing) hurry() {
	d.h.JumpAt, d.h.Jump = d.between(day, 4*day).Round(time.Second), d.between(5*day, 8*day).Round(time.Second)
	for repo := range 2 * d.h.Repos {
		hours := time.Duration(repo+1) * time.Hour
		d.add(Step{At: d.h.JumpAt - hours, Do: "prune", Repo: repo % d.h.Repos})
		d.add(Step{At: d.h.JumpAt + hours, Do: "prune", Repo: repo % d.h.Repos})
	}
}

// rare adds what is seldom drawn otherwise: what deletes at once, or has others delete later, and
// another address for the mirror.
func (d *drawing) rare() {
	for range 2 + d.IntN(4) {
		s := Step{At: d.near(), Do: pick(d, "purge", "purge", "batch", "inventory", "move", "reindex"), Repo: d.IntN(d.h.Repos), Env: 4 + d.IntN(d.h.Specs), Faults: d.faults()}
		switch s.Do {
		case "batch", "inventory":
			s.Pause = d.between(time.Minute, 20*time.Hour).Round(time.Second)
		case "move":
			s.Faults = nil
		}
		d.add(s)
	}
	if d.one(2) { // a duel in which one goes on while the other is at work, and there is something to delete
		night := max(0, d.nights[min(d.h.Repos+d.IntN(d.h.Repos+1), len(d.nights)-1)]-2*time.Hour)
		stop := d.between(15*time.Minute, 40*time.Minute).Round(time.Second)
		d.add(Step{At: night, Do: "prune", Repo: d.IntN(d.h.Repos), Faults: &Faults{StopAt: 3 + d.IntN(8), Stop: stop, Behind: d.one(2)}})
		d.add(Step{At: night + stop - d.between(0, 4*time.Minute), Do: "prune", Repo: d.IntN(d.h.Repos)})
	}
}

func (d *drawing) faults() *Faults {
	f := &Faults{}
	switch d.IntN(9) {
	case 0:
		f.KillAt, f.Behind = 1+d.IntN(30), d.one(2)
	case 1, 2:
		f.StopAt, f.Behind, f.Stop = 1+d.IntN(30), d.one(2), d.between(time.Minute, 40*time.Minute).Round(time.Second)
	case 3:
		f.Every = 4 + d.IntN(60)
	case 4:
		f.SlowList = pick(d, time.Second, 30*time.Second, 3*time.Minute)
	case 5:
		f.Lie, f.Stale = 1+d.IntN(20), d.one(2)
	default:
		return nil
	}
	if d.one(3) {
		f.SlowList = pick(d, time.Second, 20*time.Second)
	}
	return f
}

// near draws a time that is likely close to a prune, before it or while it works.
func (d *drawing) near() time.Duration {
	if d.one(3) {
		return d.between(0, time.Duration(d.weeks)*week)
	}
	// The first night deletes nothing, and from the fourth on there is little left.
	from := min(d.h.Repos, len(d.nights)-1)
	night := d.nights[from+d.IntN(min(len(d.nights), 3*d.h.Repos+1)-from)]
	return max(0, night+pick(d, d.between(-90*time.Minute, 30*time.Minute), d.between(-5*time.Minute, 13*time.Minute)))
}

func (d *drawing) push() {
	s := Step{At: d.near(), Do: "push", Repo: d.IntN(d.h.Repos), Env: d.IntN(9), Layout: pick(d, d.h.Layouts...), Announce: !d.one(4), Update: d.one(2),
		Pause: pick(d, 0, d.between(0, 2*time.Minute), d.between(0, time.Hour), d.between(0, 10*time.Hour)).Round(time.Second),
		Each:  pick(d, 0, d.between(0, 5*time.Minute).Round(time.Second))}
	if d.one(8) {
		s.Die = 1 + d.IntN(12)
	}
	s.Force = d.one(8)
	switch {
	case d.one(6):
		s.Do, s.Announce = "copy", false
	case d.one(5): // by hand: a package alone, and once more
		s.Only, s.Force, s.Announce = true, d.one(2), false
	}
	d.add(s)
	if s.Announce && s.Die == 0 && d.one(2) {
		d.add(Step{At: s.At + s.Pause + d.between(time.Minute, 20*time.Hour), Do: "lock", Repo: s.Repo, Env: s.Env})
	}
}

func (d *drawing) other() {
	s := Step{At: d.near(), Repo: d.IntN(d.h.Repos), Env: d.IntN(9)}
	switch d.IntN(17) {
	case 0, 1, 2:
		s.Do, s.Layout, s.Pause = "update-index", pick(d, d.h.Layouts...), d.between(0, 15*time.Minute).Round(time.Second)
		if s.Layout == 3 && d.h.Views > 0 {
			s.View = d.IntN(d.h.Views + 1)
		}
	case 3, 4:
		s.Do = "unlock"
	case 5:
		s.Do = "lock"
	case 6:
		s.Do, s.Env, s.Faults = pick(d, "spare", "publish"), 4+d.IntN(d.h.Specs), d.faults()
	case 7:
		s.Do, s.Env, s.Faults = "purge", 4+d.IntN(d.h.Specs), d.faults()
	case 8:
		s.Do, s.Faults = "reindex", d.faults()
	case 9:
		s.Do = "dry"
	case 10, 11:
		s.Do, s.Layout, s.Pause = "fetch", pick(d, d.h.Layouts...), d.between(0, 9*time.Minute).Round(time.Second)
	case 12:
		s.Do, s.Env = pick(d, "pin", "pin", "unpin"), 4+d.IntN(d.h.Specs)
	case 13:
		s.Do = "forget"
	case 14:
		s.Do = pick(d, "raise", "move")
	default:
		s.Do, s.Pause, s.Faults = "apply", d.between(time.Minute, 20*time.Hour).Round(time.Second), d.faults()
	}
	d.add(s)
}
