package janitor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/janitor/clock"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// A look is all that a decision rests on, read in this order: roots, root sets,
// then listing and indexes. A push that relied on anything was announced or
// finished before, or is young.
type look struct {
	roots   rootset.Roots
	digest  string // of the roots
	sets    []rootset.Set
	scan    *scan.Scan
	partial bool      // only spec files and manifests were listed
	ended   time.Time // by our clock
	oldest  time.Time // when the slowest repository refreshed its set
	slowest string    // its name
}

// lookFor is how long a look counts. Then it is repeated before a batch.
const lookFor = 5 * time.Minute

func (j *Janitor) look(ctx context.Context, partial bool) (*look, error) {
	l := &look{partial: partial}
	var err error
	if l.roots, err = j.readRoots(ctx); err != nil {
		return nil, err
	}
	l.digest = rootsDigest(l.roots)
	if l.sets, err = rootset.ReadSets(ctx, j.Store, &j.Scan.Known.Sets); err != nil {
		return nil, err
	}
	opts := j.Scan
	opts.Locks, opts.Partial, opts.Young, opts.Now = l.roots.Locks, partial, j.Policy.Grace, j.Now
	if l.scan, err = scan.New(ctx, j.Store, opts); err != nil {
		return nil, err
	}
	l.ended = j.Now()
	return l, nil
}

// refreshedSince reports whether every repository that shares the mirror has
// said since then what it needs.
func (l *look) refreshedSince(since clock.Moment) bool {
	return l.oldest.IsZero() || l.oldest.After(since.StoreTime())
}

// problem returns why root sets keep anything from being deleted, or "".
func (l *look) problem(now time.Time, own string) string {
	l.oldest = time.Time{}
	for i := range l.sets {
		s := &l.sets[i]
		switch {
		case s.Problem != "" && (s.Repository() || now.Sub(s.Written) < rootset.BuildFor):
			return fmt.Sprintf("%s%s cannot be read, and may need anything: nothing is deleted: %s", rootset.Prefix, s.Name, s.Problem)
		case s.Problem == "" && s.Repository() && s.InForce(now) && s.Name != "repositories/"+rootset.SetName(own) && (l.oldest.IsZero() || s.Written.Before(l.oldest)):
			l.oldest, l.slowest = s.Written, s.Name
		}
	}
	return ""
}

// notes says what a person should know of the root sets.
func (l *look) notes(now time.Time, note func(string, ...any)) {
	for i := range l.sets {
		s := &l.sets[i]
		name := strings.TrimPrefix(s.Name, "repositories/")
		switch {
		case s.Problem != "":
			note("the root set %s cannot be read: %s", s.Name, s.Problem)
		case !s.Repository() && s.For <= rootset.BuildFor: // it ends with its build
		case !s.InForce(now):
			note("the root set %s of %s has ended on %s and keeps nothing any more", name, s.Owner, s.Ends().Format(time.DateOnly))
		case s.Late(now):
			note("the root set %s of %s was not refreshed since %s: it ends on %s", name, s.Owner, s.Written.Format(time.DateOnly), s.Ends().Format(time.DateOnly))
		}
	}
}
