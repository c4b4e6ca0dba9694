package pipeline

import (
	"bytes"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// A workflow is a file below .github/workflows, as GitHub Actions read it.
type workflow struct {
	Name        string            `yaml:"name"`
	On          map[string]any    `yaml:"on"`
	Permissions map[string]string `yaml:"permissions"` // of jobs that say nothing: none
	Concurrency *concurrency      `yaml:"concurrency,omitempty"`
	Env         map[string]string `yaml:"env,omitempty"`
	Jobs        workflowJobs      `yaml:"jobs"`
}

type concurrency struct {
	Group  string `yaml:"group"`
	Cancel bool   `yaml:"cancel-in-progress"`
}

// workflowJobs keep the order in which they were added.
type workflowJobs []workflowJob

type workflowJob struct {
	id string

	Name        string            `yaml:"name"`
	Needs       []string          `yaml:"needs,omitempty"`
	If          string            `yaml:"if,omitempty"`
	RunsOn      any               `yaml:"runs-on"`
	Container   *jobContainer     `yaml:"container,omitempty"`
	Environment string            `yaml:"environment,omitempty"`
	Permissions map[string]string `yaml:"permissions"`
	Timeout     int               `yaml:"timeout-minutes"`
	Strategy    *strategy         `yaml:"strategy,omitempty"`
	Outputs     map[string]string `yaml:"outputs,omitempty"`
	Env         map[string]string `yaml:"env,omitempty"`
	Steps       []step            `yaml:"steps"`
}

// A jobContainer is the image that a job's steps run in.
type jobContainer struct {
	Image   string `yaml:"image"`
	Options string `yaml:"options"`
}

type strategy struct {
	FailFast bool   `yaml:"fail-fast"`
	Matrix   string `yaml:"matrix"`
}

type step struct {
	Name string            `yaml:"name,omitempty"`
	ID   string            `yaml:"id,omitempty"`
	If   string            `yaml:"if,omitempty"`
	Uses *action           `yaml:"uses,omitempty"`
	With map[string]any    `yaml:"with,omitempty"`
	Env  map[string]string `yaml:"env,omitempty"`
	Run  string            `yaml:"run,omitempty"`
}

// MarshalYAML writes the jobs in their order.
func (all workflowJobs) MarshalYAML() (any, error) {
	node := &yaml.Node{Kind: yaml.MappingNode}
	for _, j := range all {
		var key, value yaml.Node
		key.SetString(j.id)
		if err := value.Encode(j); err != nil {
			return nil, err
		}
		node.Content = append(node.Content, &key, &value)
	}
	return node, nil
}

// An action is one of other people, at a commit that cannot move, with the version that it is, for
// people and for programs that propose newer ones.
type action struct{ repository, commit, version string }

// The actions that the workflows use.
var (
	checkoutAction = &action{"actions/checkout", "3d3c42e5aac5ba805825da76410c181273ba90b1", "v7.0.1"}
	uploadAction   = &action{"actions/upload-artifact", "bbbca2ddaa5d8feaa63e36b76fdaad77386f024f", "v7.0.0"}
	downloadAction = &action{"actions/download-artifact", "3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c", "v8.0.1"}
	awsAction      = &action{"aws-actions/configure-aws-credentials", "e6de054238d6b7531b4efff3b6587d9aade6a06c", "v6.2.3"}
)

// MarshalYAML writes the repository and the commit.
func (a *action) MarshalYAML() (any, error) { return a.repository + "@" + a.commit, nil }

// maxWorkflow is how long a workflow's file may be, in bytes: GitHub reads no longer one.
const maxWorkflow = 500 << 10

// text writes a workflow below a comment that says where it comes from.
func (w workflow) text(file string) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("# Written by mage ci:github from spacktainers.yaml: change that and write it anew.\n")
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(w); err != nil {
		return nil, err
	}
	text := b.Bytes()
	for _, a := range []*action{checkoutAction, uploadAction, downloadAction, awsAction} {
		text = bytes.ReplaceAll(text, []byte(a.commit+"\n"), []byte(a.commit+" # "+a.version+"\n"))
	}
	if len(text) > maxWorkflow {
		return nil, fmt.Errorf("%s has %d bytes, and GitHub reads at most %d: name fewer variables or commands under ci: github", file, len(text), maxWorkflow)
	}
	return text, nil
}
