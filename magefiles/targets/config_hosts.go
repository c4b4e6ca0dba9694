package targets

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/openbraininstitute/spacktainers/internal/podman"
	"github.com/openbraininstitute/spacktainers/internal/suggest"
	"github.com/openbraininstitute/spacktainers/internal/yamlstrict"
)

// A Host is where a platform is built: local, or {url: local, jobs: 4}.
type Host struct {
	URL  string // local, emulate, or ssh://user@host:port
	Jobs int    // containers that it builds at a time; 0: one
}

// maxJobs is more than any machine builds at a time: Spack takes all cores for one already.
const maxJobs = 64

func (h *Host) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		h.URL = node.Value
		return nil
	}
	if node.Kind != yaml.MappingNode {
		return fmt.Errorf("want a host, such as local or {url: local, jobs: 4}")
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		switch key, value := node.Content[i], node.Content[i+1]; key.Value {
		case "url":
			h.URL = value.Value
		case "jobs":
			if err := value.Decode(&h.Jobs); err != nil || h.Jobs < 1 || h.Jobs > maxJobs {
				return fmt.Errorf("jobs is %s, want 1 to %d", cmp.Or(value.Value, "no number"), maxJobs)
			}
		default:
			return fmt.Errorf("unknown key %q of a host: %s", key.Value, suggest.Hint(key.Value, []string{"jobs", "url"}))
		}
	}
	return nil
}

// checkHosts refuses what can be no host, and a host that a platform names twice: its jobs would be
// those of the one or the other.
func (c Config) checkHosts(data []byte, fail func(at *yaml.Node, format string, args ...any)) {
	for _, platform := range slices.Sorted(maps.Keys(c.Platforms)) {
		named := map[string]bool{}
		for i, h := range c.Platforms[platform].Hosts {
			_, at := yamlstrict.Find(data, "platforms", platform, "hosts", strconv.Itoa(i))
			url := strings.TrimRight(h.URL, "/")
			if err := podman.CheckHost(h.URL); err != nil {
				fail(at, "%v", err)
			} else if named[url] {
				fail(at, "host %q is named twice: leave one, with jobs: 2 where it is to build two containers at a time", h.URL)
			}
			named[url] = true
		}
	}
}

// place tells the scheduler where a platform is built.
func place(s *podman.Scheduler, platform string, hosts []Host) {
	for _, h := range hosts {
		s.Hosts[platform] = append(s.Hosts[platform], h.URL)
		s.Jobs[h.URL] = max(s.Jobs[h.URL], h.Jobs)
	}
}
