package sifstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/publish/branch"
	"github.com/openbraininstitute/spacktainers/internal/sif"
)

// A Retention says which SIFs stay.
type Retention struct {
	Branches []string      // that exist, as git calls them; never empty
	KeepLast int           // so many of the newest of each container, platform and branch; at least one
	KeepFor  time.Duration // how long a superseded one stays
	Now      time.Time
}

// A Cleaning is what stays in a store and what goes, each with its reason.
type Cleaning struct {
	Lines []CleanLine

	retention Retention
	keys      Keys
}

// A CleanLine is one object of a store.
type CleanLine struct {
	File   string    `json:"file"`
	Size   int64     `json:"bytes"`
	Date   time.Time `json:"date"`
	Remove bool      `json:"remove"`
	Reason string    `json:"reason"`

	container string // empty: in no manifest
	etag      string
}

// NewCleaning decides what may go from a bucket or a folder. It only reads. In
// doubt it keeps: what is not named as ours, what a manifest calls the newest,
// releases and SIFs of definition files whatever branches there are.
func NewCleaning(ctx context.Context, store buildcache.Store, keys Keys, r Retention) (Cleaning, error) {
	if len(r.Branches) == 0 {
		return Cleaning{}, errors.New("the list of branches is empty: every SIF of a branch would go")
	}
	c, err := readCatalogue(ctx, store, keys)
	if err != nil {
		return Cleaning{}, err
	}
	plan := Cleaning{retention: r, keys: keys}
	for _, group := range c.groups() {
		if err := c.intact(group); err != nil {
			return Cleaning{}, err
		}
		plan.Lines = append(plan.Lines, r.judge(group)...)
	}
	for key, object := range c.objects {
		if _, ok := sif.ParseName(key); strings.HasSuffix(key, sif.Ext) && !ok && !c.isLink(key) {
			plan.Lines = append(plan.Lines, CleanLine{File: key, Size: object.Size, Date: object.ModTime, Reason: "its name is none of ours"})
		}
	}
	for _, object := range c.incoming {
		line := CleanLine{File: object.Key, Size: object.Size, Date: object.ModTime, Reason: "on its way", etag: object.ETag}
		if r.Now.Sub(object.ModTime) > sif.PartAge {
			line.Remove, line.Reason = true, "left by an upload that did not end"
		}
		plan.Lines = append(plan.Lines, line)
	}
	plan.Lines = append(plan.Lines, c.judgeLocks(r)...)
	slices.SortFunc(plan.Lines, func(a, b CleanLine) int { return strings.Compare(a.File, b.File) })
	return plan, ctx.Err()
}

// A candidate is a SIF with what its manifest, or else its name, says of it.
type candidate struct {
	sif.Name
	object buildcache.Object
	date   time.Time // when it was uploaded
	kind   string
	latest bool // the manifest's newest release
	listed bool
}

// groups are the SIFs of one container, platform and branch each, the newest
// first.
func (c catalogue) groups() [][]candidate {
	byKey := map[sif.Name][]candidate{}
	for key, object := range c.objects {
		name, ok := sif.ParseName(key)
		if !ok {
			continue
		}
		found := candidate{Name: name, object: object, date: object.ModTime}
		if m := c.manifest(name.Container); m != nil {
			if s, ok := m.find(key); ok {
				found.date, found.kind, found.listed = s.Uploaded, s.Kind, true
				found.latest = m.Newest[s.Platform].File == key
				if s.Kind == sif.KindDefinitionFile {
					found.Branch = ""
				}
			}
		}
		group := found.Name
		group.Version = ""
		byKey[group] = append(byKey[group], found)
	}
	var groups [][]candidate
	for _, group := range byKey {
		slices.SortFunc(group, func(a, b candidate) int {
			if a.latest != b.latest {
				return map[bool]int{true: -1, false: 1}[a.latest]
			}
			if order := b.date.Compare(a.date); order != 0 {
				return order
			}
			return strings.Compare(a.object.Key, b.object.Key)
		})
		groups = append(groups, group)
	}
	return groups
}

func (c catalogue) manifest(container string) *Manifest {
	for _, m := range c.manifests {
		if m.Name == container {
			return m
		}
	}
	return nil
}

// isLink knows the links to the newest SIF that sif:install makes in a folder.
func (c catalogue) isLink(key string) bool {
	stem, _ := sif.CutArch(strings.TrimSuffix(key, sif.Ext))
	return c.manifest(stem) != nil
}

// intact refuses to let anything of a group go while the newest one is not
// there as its manifest says.
func (c catalogue) intact(group []candidate) error {
	m := c.manifest(group[0].Container)
	if m == nil {
		return nil
	}
	for platform, latest := range m.Newest {
		object, ok := c.objects[latest.File]
		if s, _ := m.find(latest.File); !ok || object.Size != s.Size {
			return fmt.Errorf("%s, the newest %s for %s, is not there as its manifest says: upload it again before anything is cleaned up", latest.File, m.Name, platform)
		}
	}
	return nil
}

// judge goes through a group, the newest first.
func (r Retention) judge(group []candidate) []CleanLine {
	slug := group[0].Branch
	lives := slices.ContainsFunc(r.Branches, func(b string) bool { return branch.Slug(b) == slug })
	var lines []CleanLine
	for i, c := range group {
		line := CleanLine{File: c.object.Key, Size: c.object.Size, Date: c.date, container: c.Container, etag: c.object.ETag}
		switch {
		case slug != "" && !lives:
			line.Remove, line.Reason = true, "branch "+slug+" is gone"
		case i == 0 && slug != "":
			line.Reason = "the newest of branch " + slug
		case i == 0:
			line.Reason = "the newest release"
		case i < r.KeepLast:
			line.Reason = fmt.Sprintf("among the newest %d", r.KeepLast)
		default:
			since := group[i-1].date
			line.Reason = fmt.Sprintf("superseded by %s %s ago", group[i-1].object.Key, days(r.Now.Sub(since)))
			line.Remove = r.Now.Sub(since) > r.KeepFor
			if !line.Remove {
				line.Reason += ", stays for " + days(r.KeepFor)
			}
		}
		lines = append(lines, line)
	}
	return lines
}

func days(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
	return d.Round(time.Minute).String()
}

// Apply removes what the plan says. A manifest forgets a file before the
// file goes, so that no user is led to what is not there; one that was written
// again since the plan was made stays.
func (plan Cleaning) Apply(ctx context.Context, store Store) error {
	byContainer := map[string][]CleanLine{}
	for _, line := range plan.Lines {
		if line.Remove {
			byContainer[line.container] = append(byContainer[line.container], line)
		}
	}
	var errs []error
	for container, lines := range byContainer {
		keys, err := plan.unchanged(ctx, store, container, lines)
		if err == nil && container != "" {
			err = plan.forget(ctx, store, container, keys)
		}
		if err == nil && len(keys) > 0 {
			err = store.Delete(ctx, keys)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// unchanged returns the keys of those lines whose objects are still those of
// the plan.
func (plan Cleaning) unchanged(ctx context.Context, store Store, container string, lines []CleanLine) ([]string, error) {
	m := &Manifest{}
	if container != "" {
		var err error
		if m, _, err = readManifest(ctx, store, plan.keys, container); err != nil {
			return nil, err
		}
	}
	var keys []string
	for _, line := range lines {
		if s, listed := m.find(line.File); listed && !s.Uploaded.Equal(line.Date) {
			continue // the same bytes, uploaded again
		}
		object, there, err := stat(ctx, store, line.File)
		if err != nil {
			return nil, err
		}
		if there && object.ETag == line.etag {
			keys = append(keys, line.File)
		}
	}
	return keys, nil
}

func (plan Cleaning) forget(ctx context.Context, store Store, container string, keys []string) error {
	m, etag, err := readManifest(ctx, store, plan.keys, container)
	if err != nil || etag == "" {
		return err
	}
	if !slices.ContainsFunc(m.Files, func(s Stored) bool { return slices.Contains(keys, s.File) }) {
		return nil
	}
	return changeManifest(ctx, store, plan.keys, container, func(m *Manifest) {
		for _, key := range keys {
			m.remove(key)
		}
	})
}
