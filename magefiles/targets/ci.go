package targets

import "github.com/magefile/mage/mg"

// Ci are the pieces of pipelines, for where building outgrows one machine.
type Ci mg.Namespace
