package targets

import (
	"cmp"
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/openbraininstitute/spacktainers/internal/podman"
	"github.com/openbraininstitute/spacktainers/internal/suggest"
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

// place tells the scheduler where a platform is built.
func place(s *podman.Scheduler, platform string, hosts []Host) {
	for _, h := range hosts {
		s.Hosts[platform] = append(s.Hosts[platform], h.URL)
		s.Jobs[h.URL] = max(s.Jobs[h.URL], h.Jobs)
	}
}
