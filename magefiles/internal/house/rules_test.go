package house

// arrows is who may import whom within this module, tests aside. A package that is not named may import none, so a new
// arrow is a new word here, and worth a thought. A "/..." at the end stands for a folder and all below it.
var arrows = map[string][]string{
	".":                 {"internal/lifeline"},
	"magefiles":         {"magefiles/targets"},
	"magefiles/targets": {"magefiles/internal/...", "internal/lifeline", "buildcache/...", "janitor"},

	"magefiles/internal/definition": {"magefiles/internal/near", "magefiles/internal/strict"},
	"magefiles/internal/command":    {},
	"magefiles/internal/build":      {"buildcache", "magefiles/internal/command", "magefiles/internal/image"},
	"magefiles/internal/assemble":   {"buildcache", "magefiles/internal/image"},
	"magefiles/internal/publish":    {"buildcache", "magefiles/internal/image", "magefiles/internal/sbom", "magefiles/internal/publish/branch"},
	"magefiles/internal/sbom":       {"buildcache"},
	"magefiles/internal/sif":        {"buildcache", "buildcache/file", "magefiles/internal/near", "magefiles/internal/strict", "magefiles/internal/command", "magefiles/internal/image", "magefiles/internal/publish/branch"},
	"magefiles/internal/pipeline":   {},
	"magefiles/internal/ui":         {},
	"magefiles/internal/doctor":     {"magefiles/internal/command"},
	"magefiles/internal/suite":      {"magefiles/internal/command"},
	"magefiles/internal/strict":     {"magefiles/internal/near"},
	"magefiles/internal/image":      {}, // the image layout and its record, in which the steps meet
	"magefiles/internal/near":       {},

	"magefiles/internal/publish/branch":   {},
	"magefiles/internal/publish/progress": {"magefiles/internal/publish"},

	"internal/lifeline": {},

	"internal/tooltest":                    {},
	"internal/faultproxy":                  {},
	"internal/s3test":                      {"internal/tooltest"},
	"internal/registrytest":                {"internal/tooltest"},
	"internal/s3test/storetest":            {"buildcache"},
	"internal/s3test/cmd/s3servers":        {"internal/s3test"},
	"internal/apptainertest":               {"internal/tooltest"},
	"internal/apptainertest/cmd/apptainer": {"internal/apptainertest"},

	"buildcache":           {},
	"buildcache/file":      {"buildcache"},
	"buildcache/s3":        {"buildcache"},
	"buildcache/index":     {"buildcache"},
	"buildcache/inventory": {"buildcache"},
	"buildcache/synth":     {"buildcache"}, // tests and measurements only
	"janitor":              {"buildcache", "buildcache/index"},
	"janitor/bench":        {"buildcache/...", "janitor", "internal/s3test"},
}

// A ban keeps imports from outside this module out of packages.
type ban struct {
	imports string   // the import path, and all below it
	from    string   // the folder whose packages may not
	but     []string // packages that may
	why     string
}

var bans = []ban{
	{imports: "os/exec", from: ".", but: []string{"magefiles/internal/command", "internal/tooltest", "internal/s3test", "internal/registrytest", "internal/apptainertest", "janitor/bench"}, why: "programs are run by magefiles/internal/command"},
	{imports: "github.com/magefile/mage", from: "buildcache", why: "the build cache knows no mage"},
	{imports: "github.com/magefile/mage", from: "janitor", why: "the janitor knows no mage"},
	{imports: "github.com/aws", from: "janitor", why: "the janitor knows stores only as buildcache shows them"},
	{imports: "github.com/containers", from: "buildcache", why: "the build cache knows no podman"},
	{imports: "github.com/containers", from: "janitor", why: "the janitor knows no podman"},
}

// readers are the only files that may read environment variables.
var readers = []string{
	"magefiles/targets/config.go",
	"internal/tooltest/tooltest.go", // only tests import these
	"internal/s3test/server.go",
	"internal/s3test/tool.go",
}

// testOnly are folders of packages that nothing but tests, and each other, may import.
var testOnly = []string{"internal/tooltest", "internal/registrytest", "internal/s3test", "internal/faultproxy", "internal/apptainertest", "janitor/bench"}

// vague are package names that say nothing about what is inside.
var vague = []string{"util", "utils", "common", "helper", "helpers", "misc", "shared"}
