package torture

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A History is a setting and what happens in it. Everything that is drawn comes from its seed.
type History struct {
	Seed uint64
	Setting
	Steps []Step
}

// An Outcome is what the oracle has to say of a history.
type Outcome struct {
	Broken  []Broken
	Windows map[string][]time.Duration
	Runs    int // of the janitor
	Deleted int // specs
}

// running is a history while it runs.
type running struct {
	History
	w        *World
	under    Janitor
	envs     []Env
	memories []any          // by repository: see Call
	locked   []map[int]bool // by repository: which environments it has lockfiles of
	pinned   [][]string     // by repository
}

// Run lets a history happen in a bubble of virtual time.
func (h History) Run(t *testing.T, j Janitor, log io.Writer) (out Outcome) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)))
		w := newWorld(h.Setting, graphOf(h.Setting), log)
		r := &running{History: h, w: w, under: j, memories: make([]any, h.Repos), pinned: make([][]string, h.Repos)}
		r.populate()
		var all sync.WaitGroup
		for _, s := range h.Steps {
			all.Go(func() {
				time.Sleep(s.At + time.Duration(s.ID))
				r.do(context.Background(), s)
			})
		}
		all.Wait()
		r.calm()
		out = Outcome{Broken: w.oracle.broken, Windows: w.oracle.windows, Runs: len(w.oracle.runs)}
		for name := range w.oracle.deleted {
			out.Deleted += btoi(len(name) == 32)
		}
	})
	return out
}

var graphs sync.Map // setting → Graph: some hundreds serve all histories

func graphOf(s Setting) *Graph {
	key := [2]uint64{s.Shape, uint64(s.Specs)}
	if g, ok := graphs.Load(key); ok {
		return g.(*Graph)
	}
	g, _ := graphs.LoadOrStore(key, newGraph(s.Shape, s.Specs))
	return g.(*Graph)
}

// populate fills the bucket with what was pushed in the last months.
func (r *running) populate() {
	w, x := r.w, rand.New(rand.NewPCG(r.Seed, 1))
	own := w.Graph.Specs[4:]
	for range 5 + x.IntN(5) {
		var env Env
		for range 1 + x.IntN(3) {
			env = append(env, own[x.IntN(len(own))])
		}
		r.envs = append(r.envs, env)
	}
	for range r.Repos {
		locked := map[int]bool{}
		for i := range r.envs {
			if x.IntN(3+2*r.Repos) == 0 {
				locked[i] = true
			}
		}
		locked[x.IntN(len(r.envs))] = true // an empty root set is an error
		r.locked = append(r.locked, locked)
	}
	for _, layout := range r.Layouts {
		there := map[*Spec]bool{}
		for _, env := range r.envs {
			if x.IntN(3) == 0 {
				continue // will be pushed later
			}
			age := 3*day + time.Duration(x.IntN(60))*day
			for _, s := range closure(env, x.IntN(2) == 0) {
				if s.External || there[s] {
					continue
				}
				there[s] = true
				for _, u := range (push{layout: layout, signed: r.Signed}).uploads(s) {
					w.place(u.key, u.body, age)
				}
			}
		}
		var cached []*Spec
		for _, s := range w.Graph.Specs {
			if there[s] {
				cached = append(cached, s)
			}
		}
		r.placeIndex(layout, cached)
	}
	r.placeOddities(x)
	r.placeUnknown(x)
	w.fetched[own[0].Hash] = w.start // an access log that names nothing is refused
}

// placeUnknown puts beside some packages what could be a part of them, in forms that are no part of
// a cache as we know them: metadata of older Spack's instead of the spec file, and what a later one
// may add.
func (r *running) placeUnknown(x *rand.Rand) {
	w := r.w
	for _, s := range w.Graph.Specs[4:] {
		if x.IntN(40) != 0 {
			continue
		}
		switch _, cached := w.bucket.objects[s.tarballKey()]; {
		case cached && x.IntN(2) == 0:
			for _, signed := range []bool{false, true} {
				w.mu.Lock()
				w.remove(&Actor{Name: "past", w: w}, s.specFileKey(signed))
				w.mu.Unlock()
			}
			w.place("build_cache/"+stem(s)+".spec.yaml", []byte("spec:\n- "+s.Name+":\n    version: "+s.Version+"\n"), 50*day)
		case cached:
			w.place("build_cache/"+stem(s)+".cdx.json", []byte("{}"), 50*day)
		case w.bucket.objects[s.manifestKey()] != nil:
			w.place("v3/manifests/spec/"+s.Name+"/"+s.Name+"-"+s.Version+"-"+s.Hash+".sbom.json", []byte("{}"), 50*day)
			w.unnamed = true
		default:
			continue
		}
		w.unknown[s.Hash] = true
	}
}

func (r *running) placeIndex(layout int, cached []*Spec) {
	text := index(cached, 5+layout)
	if layout == 2 {
		r.w.place(indexV2, text, 3*day)
		r.w.place(indexV2Hash, []byte(digest(text)), 3*day)
		return
	}
	for view := range r.Views + 1 {
		key, some := indexV3, cached
		if view > 0 {
			key, some = viewKey(viewName(view)), nil
			for _, s := range cached {
				if s.Hash[1]%2 == 0 {
					some = append(some, s)
				}
			}
		}
		text := index(some, 8)
		r.w.place(blobKey(text), text, 3*day)
		r.w.place(key, manifest(blob{"application/vnd.spack.db.v8+json", "none", text}), 3*day)
	}
	r.w.place("v3/layout.json", []byte(`{"signing": "gpg"}`), 60*day)
}

// placeOddities puts beside the cache what real ones have besides: keys, orphans, and what nobody
// understands.
func (r *running) placeOddities(x *rand.Rand) {
	w := r.w
	w.place("README.txt", []byte("This is our build cache."), 300*day)
	w.place("other/tool/blobs/sha256/ab/file", []byte("not Spack's"), 300*day)
	for _, layout := range r.Layouts {
		if layout == 2 {
			key := []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
			w.place("build_cache/_pgp/DE7BBCF5545ABA42FEE4EC9D27CA373DAC003224.pub", key, 300*day)
			w.place("build_cache/_pgp/index.json", []byte(`{"keys":{"DE7BBCF5545ABA42FEE4EC9D27CA373DAC003224":{}}}`), 300*day)
			continue
		}
		key, keys := []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----\n"), []byte(`{"keys":{"DE7BBCF5545ABA42FEE4EC9D27CA373DAC003224":{}}}`)
		w.place(blobKey(key), key, 300*day)
		w.place(blobKey(keys), keys, 300*day)
		w.place("v3/manifests/key/DE7BBCF5545ABA42FEE4EC9D27CA373DAC003224.key.manifest.json", manifest(blob{"application/pgp-keys", "none", key}), 300*day)
		w.place("v3/manifests/key/keys.manifest.json", manifest(blob{"application/vnd.spack.keyindex.v1+json", "none", keys}), 300*day)
		for i := range x.IntN(3) {
			old := fmt.Appendf(nil, "an index of last year %d", i)
			w.place(blobKey(old), old, time.Duration(1+x.IntN(100))*day)
		}
	}
}

// place puts an object as if it had been written some time ago.
func (w *World) place(key string, body []byte, age time.Duration) {
	o := &object{body: body, etag: etag(body), written: time.Now().Add(-age), mod: w.storeTime().Add(-age).Truncate(time.Second)}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bucket.put(key, o)
	w.oracle.afterPut(&Actor{Name: "past", w: w}, key, o)
}

// calm lets the weather be good for five weeks: every repository prunes weekly. Then the oracle has
// its last word.
func (r *running) calm() {
	r.w.log(&Actor{Name: "world"}, "calm")
	time.Sleep(3 * day)
	var roots []*Spec
	for round := range 5 {
		for repo := range r.Repos {
			r.calmPrune(round, repo)
			time.Sleep(5 * time.Hour)
		}
		time.Sleep(week - time.Duration(r.Repos)*5*time.Hour)
	}
	for repo := range r.Repos {
		roots = append(roots, r.roots(repo)...)
	}
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	r.w.oracle.final(roots)
}

func (r *running) calmPrune(round, repo int) {
	a, ctx := r.w.newActor(context.Background(), fmt.Sprintf("calm%d.%d", round, repo), r.Seed+uint64(round*10+repo), Faults{})
	defer r.w.caught(a)
	a.Skew = r.w.clockOf(repo)
	c := r.call(a, repo)
	c.Brake = 0
	run := &Run{Kind: "prune", Repo: c.Repo, Roots: hashes(closure(r.roots(repo), false))}
	a.intent = func() map[string]bool { return r.mustHold(repo, run) }
	r.w.begin(a, run)
	err := r.under.Prune(ctx, c)
	r.w.end(run, err)
	if err != nil && r.Conditions == "" && r.Jump == 0 && r.Off == 0 && r.Clock == 0 {
		r.w.mu.Lock()
		defer r.w.mu.Unlock()
		r.w.oracle.fail("converge", "a prune in good weather: %v", err)
	}
}

// String is the history as a scene that can be run again.
func (h History) String() string {
	steps := h.Steps
	h.Steps = nil
	head, _ := json.Marshal(h)
	text := string(head[:len(head)-len("null}")]) + "["
	for i, s := range steps {
		line, _ := json.Marshal(s)
		text += []string{",", ""}[btoi(i == 0)] + "\n " + string(line)
	}
	return text + "]}"
}
