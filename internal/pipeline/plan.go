package pipeline

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/inspect"
)

// A Request is what a graph is made from.
type Request struct {
	Containers []Container
	Bases      []Base
	Cached     map[string]func(buildcache.Hash) bool // by platform, whether its mirrors have a package; nil: they have none
	Times      Times
	Publish    bool // there are registries
	SIF        bool // there is a place for SIFs
}

// A Container is a container for one platform, and what is known of it.
type Container struct {
	Name     string
	Platform string
	Version  string
	Lock     *buildcache.Lockfile // nil: there is none yet
	Roots    []buildcache.Hash    // of Lock
	UpToDate bool
	Why      []string      // it is not up to date, or may not be
	Bytes    int64         // of the image that is there; 0: not known, or none
	Diff     *inspect.Diff // from what is published; nil: nothing is, or it was not asked for

	LockPath  string // where a lockfile is looked for, relative to the repository
	Apptainer bool   // an Apptainer definition file: only a SIF is made of it
}

// A Base is a base image of a platform, and whether it is to be made.
type Base struct {
	Name     string
	Platform string
	For      []Kind // the kinds of steps that need it
	UpToDate bool
	Why      []string
}

// New plans what is to be done for containers that are not up to date. Each package that they need
// and the mirrors of its platform do not have is one step, however many of them want it.
//
// Two lockfiles that have different packages under one hash are an error: which one a mirror will
// have would be chance.
func New(r Request) (*Graph, error) {
	p := &planner{request: r, steps: map[string]*Step{}, packages: map[string]*packages{}}
	for _, c := range r.together() {
		if err := p.container(c); err != nil {
			return nil, fmt.Errorf("%s for %s: %w", c.Name, c.Platform, err)
		}
	}
	p.bases()
	p.publications()
	g := &Graph{UpToDate: p.upToDate}
	for _, platform := range slices.Sorted(maps.Keys(p.packages)) {
		found := p.packages[platform]
		g.Cached += found.cached
		g.Unneeded += found.unneeded()
		var built []string
		for _, s := range found.steps(r.Times) {
			p.add(s)
			built = append(built, s.ID)
		}
		if len(built) > 0 {
			p.add(Step{ID: stepID(Index, platform, "mirror"), Kind: Index, Name: "mirror", Platform: platform, Needs: built,
				Why: []string{"packages are pushed"}, Seconds: r.Times.short().Seconds()})
		}
	}
	return g, g.order(p.steps)
}

// together returns the containers as they are to be built: where one platform of a container is, and
// is to be published, all of them are, since all are published under one index.
func (r Request) together() []Container {
	if !r.Publish {
		return r.Containers
	}
	first := map[string]string{} // platform that is to be built, by container
	for _, c := range r.Containers {
		if old := first[c.Name]; !c.UpToDate && !c.Apptainer && (old == "" || c.Platform < old) {
			first[c.Name] = c.Platform
		}
	}
	all := slices.Clone(r.Containers)
	for i, c := range all {
		if platform := first[c.Name]; c.UpToDate && !c.Apptainer && platform != "" {
			all[i].UpToDate, all[i].Why = false, []string{"it is published under one index with " + platform + ", which is to be built"}
		}
	}
	return all
}

type planner struct {
	request  Request
	steps    map[string]*Step
	packages map[string]*packages // by platform
	upToDate int
}

func (p *planner) add(s Step) {
	slices.Sort(s.Needs)
	s.Needs = slices.Compact(s.Needs)
	if s.Needs == nil {
		s.Needs = []string{}
	}
	if s.Why == nil {
		s.Why = []string{}
	}
	p.steps[s.ID] = &s
}

// container adds the steps that one container takes, and learns which packages it needs.
func (p *planner) container(c Container) error {
	if c.Apptainer {
		p.apptainer(c)
		return nil
	}
	if p.packages[c.Platform] == nil {
		p.packages[c.Platform] = newPackages(c.Platform, p.request.Cached[c.Platform])
	}
	var needs []string
	if c.Lock != nil {
		missing, err := p.packages[c.Platform].need(c)
		if err != nil {
			return err
		}
		needs = missing
	}
	if c.UpToDate {
		p.upToDate++
		return nil
	}
	if c.Lock == nil {
		lock := Step{ID: stepID(Concretization, c.Platform, c.Name), Kind: Concretization, Name: c.Name, Platform: c.Platform, Path: c.LockPath,
			Why: []string{"there is no lockfile"}, Seconds: p.request.Times.lock().Seconds()}
		p.add(lock)
		needs = append(needs, lock.ID)
		c.Why = append(slices.Clone(c.Why), "which packages it needs is known once it is locked")
	}
	image := Step{ID: stepID(Image, c.Platform, c.Name), Kind: Image, Name: c.Name, Version: c.Version, Platform: c.Platform,
		Needs: needs, Why: c.Why, Seconds: p.request.Times.image().Seconds(), Bytes: c.Bytes, Diff: c.Diff}
	p.add(image)
	if p.request.SIF {
		p.add(Step{ID: stepID(SIF, c.Platform, c.Name), Kind: SIF, Name: c.Name, Version: c.Version, Platform: c.Platform,
			Needs: []string{image.ID}, Why: []string{"its container is to be built"}, Seconds: p.request.Times.short().Seconds()})
	}
	return nil
}

func (p *planner) apptainer(c Container) {
	switch {
	case c.UpToDate:
		p.upToDate++
	case p.request.SIF:
		p.add(Step{ID: stepID(SIF, c.Platform, c.Name), Kind: SIF, Name: c.Name, Version: c.Version, Platform: c.Platform,
			Why: c.Why, Seconds: p.request.Times.image().Seconds()})
	}
}

// bases adds the base images that are to be made, where a step wants one.
func (p *planner) bases() {
	for _, b := range p.request.Bases {
		if b.UpToDate {
			continue
		}
		id := stepID(BaseImage, b.Platform, b.Name)
		var containers []string
		for _, s := range p.steps {
			if s.Platform == b.Platform && slices.Contains(b.For, s.Kind) {
				s.Needs = append(s.Needs, id)
				slices.Sort(s.Needs)
				containers = append(containers, s.Name)
			}
		}
		if len(containers) == 0 {
			continue
		}
		slices.Sort(containers)
		if slices.Contains(b.For, Package) {
			p.packages[b.Platform].bases = append(p.packages[b.Platform].bases, id)
		}
		p.add(Step{ID: id, Kind: BaseImage, Name: b.Name, Platform: b.Platform, Containers: slices.Compact(containers),
			Why: b.Why, Seconds: p.request.Times.base().Seconds()})
	}
}

// publications adds one step for each container, whatever number of platforms is to be built.
func (p *planner) publications() {
	if !p.request.Publish {
		return
	}
	images := map[string][]string{}
	version := map[string]string{}
	for id, s := range p.steps {
		if s.Kind == Image {
			images[s.Name] = append(images[s.Name], id)
			version[s.Name] = max(version[s.Name], s.Version)
		}
	}
	for name, needs := range images {
		p.add(Step{ID: stepID(Publication, "", name), Kind: Publication, Name: name, Version: version[name], Needs: needs,
			Why: []string{"to be built for " + strings.Join(platformsOf(needs), ", ")}, Seconds: p.request.Times.short().Seconds()})
	}
}

// platformsOf returns the platforms in IDs, sorted.
func platformsOf(ids []string) []string {
	var found []string
	for _, id := range ids {
		found = append(found, strings.Split(id, ":")[1])
	}
	slices.Sort(found)
	return found
}

// Times are estimates of how long things take to build.
type Times struct {
	Packages map[string]time.Duration // by the package's name, where they were measured or are known
	Package  time.Duration            // of other packages; 0: two minutes
	Image    time.Duration            // of a container whose packages are in the mirror; 0: ten minutes
}
