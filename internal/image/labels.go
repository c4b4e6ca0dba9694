package image

// Our labels, on configurations and, as annotations, on manifests. The
// standard ones of the OCI (org.opencontainers.image.*) stand beside them.
const (
	LabelBuildKey = "org.openbraininstitute.spacktainers.build-key"
	LabelLock     = "org.openbraininstitute.spacktainers.lock"   // sha256 of the lockfile, in hex
	LabelSpecs    = "org.openbraininstitute.spacktainers.specs"  // name@version/hash of every package, by spaces
	LabelInputs   = "org.openbraininstitute.spacktainers.inputs" // what the build key is made of: a JSON list of Input
	LabelSpack    = "org.openbraininstitute.spacktainers.spack"  // commit, or else version, of the Spack that concretized
	// LabelConcretization is the key of all that decided the lockfile.
	LabelConcretization = "org.openbraininstitute.spacktainers.concretization"
)
