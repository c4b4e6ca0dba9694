package abstract

import (
	"fmt"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Satisfied reports whether a node of a lockfile is what a spec asks for.
func (s Spec) Satisfied(lock *buildcache.Lockfile, node *buildcache.Spec) Answer {
	result := s.Node.satisfied(node)
	for _, d := range s.Dependencies {
		result = min(result, d.satisfied(lock, node))
	}
	return result
}

func (n Node) satisfied(node *buildcache.Spec) Answer {
	if n.Name != "" && n.Name != node.Name || !strings.HasPrefix(string(node.Hash), n.Hash) {
		return No
	}
	if n.Namespace != "" && node.Namespace != n.Namespace && !strings.HasSuffix(node.Namespace, "."+n.Namespace) {
		return No
	}
	result := versionIn(node.Version, n.Versions)
	for _, v := range n.Variants {
		result = min(result, v.satisfied(node))
	}
	return result
}

func (v Variant) satisfied(node *buildcache.Spec) Answer {
	switch v.Key {
	case "target":
		if node.Target != v.Value && strings.ContainsAny(v.Value, ":,") {
			return Maybe
		}
		return answer(node.Target == v.Value)
	case "os", "operating_system":
		return answer(node.OS == v.Value)
	case "platform":
		return answer(node.Platform == v.Value)
	case "namespace":
		return answer(node.Namespace == v.Value)
	case "arch", "architecture", "patches", "dev_path", "commit":
		return Maybe
	}
	have, ok := node.Parameters[v.Key]
	if !ok {
		if v.Propagate {
			return Maybe
		}
		return No
	}
	values, isList := have.([]any)
	if !isList {
		values = []any{have}
	}
	var texts []string
	for _, value := range values {
		texts = append(texts, fmt.Sprint(value))
	}
	if v.Value == "*" {
		return Yes
	}
	if strings.HasSuffix(v.Key, "flags") || v.Key == "ldlibs" {
		for _, flag := range strings.Fields(v.Value) {
			if !slices.Contains(texts, flag) {
				return No
			}
		}
		return Yes
	}
	wanted := strings.Split(v.Value, ",")
	for _, value := range wanted {
		if !slices.Contains(texts, value) {
			return No
		}
	}
	if v.Exact && len(wanted) != len(texts) {
		return No
	}
	return Yes
}

// satisfied looks for a dependency below a node: a direct one behind %, any behind ^.
func (d Dependency) satisfied(lock *buildcache.Lockfile, node *buildcache.Spec) Answer {
	if d.Properties != "" { // such as when=, deptypes=
		return Maybe
	}
	best := No
	if d.Direct && node.Compiler != "" {
		name, version, _ := strings.Cut(node.Compiler, "@")
		compiler := &buildcache.Spec{Name: name, Version: version}
		best = d.Spec.Satisfied(lock, compiler)
	}
	for _, edge := range below(lock, node, d.Direct) {
		on := lock.Specs[edge.Hash]
		if on == nil {
			continue
		}
		wanted := d.Spec
		if wanted.Name != on.Name && slices.Contains(edge.Virtuals, wanted.Name) {
			wanted.Name = on.Name // asked for by what it provides; versions are the virtual's
			if wanted.Versions != "" {
				best = max(best, Maybe)
				wanted.Versions = ""
			}
		}
		found := wanted.Satisfied(lock, on)
		if len(d.Virtuals) > 0 && !containsAll(edge.Virtuals, d.Virtuals) {
			found = min(found, Maybe)
		}
		best = max(best, found)
	}
	return best
}

func containsAll(list, wanted []string) bool {
	return !slices.ContainsFunc(wanted, func(w string) bool { return !slices.Contains(list, w) })
}

// below returns the edges that lead from a node: its own, or those of its whole closure. Since
// Spack 1.0 that is what it links and runs with, and what it is built with itself, but not what
// that is built with in turn.
func below(lock *buildcache.Lockfile, node *buildcache.Spec, direct bool) (edges []buildcache.Dependency) {
	if direct {
		return node.Dependencies
	}
	all := node.Compiler != ""
	seen := map[buildcache.Hash]bool{}
	var visit func(*buildcache.Spec)
	visit = func(s *buildcache.Spec) {
		if s == nil || seen[s.Hash] {
			return
		}
		seen[s.Hash] = true
		for _, d := range s.Dependencies {
			runtime := d.Types&buildcache.Runtime != 0
			if all || runtime || s == node {
				edges = append(edges, d)
			}
			if all || runtime {
				visit(lock.Specs[d.Hash])
			}
		}
	}
	visit(node)
	return edges
}
